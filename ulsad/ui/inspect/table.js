// The batch, strangest first. Arrow keys move the selection.
// value: {rows: [{index, name, thumbnail, score, local, global, verdict, fired, seen_in, notes, mark}], total, selected};
// until the photos are scored there are only names and thumbnails.
let value = null;  // sent as text, because gradio would watch every number of an object
const list = element.querySelector(".rows");
const escaped = (name) => Object.assign(document.createElement("i"), {textContent: name}).innerHTML;
const attribute = (text) => escaped(text).replaceAll('"', "&quot;");
let wanted = null;  // the row selected here, until the server answers

function branch(name, row) {
  const fired = row.fired === name || row.fired === "both";
  return fired ? `<strong title="the ${name} branch fired">${name} ${row[name]} ▲</strong>` : `${name} ${row[name]}`;
}

function scored(row) {
  if (!row.verdict) return "<small>not scored yet</small>";
  return `<b class="${row.verdict}">${row.verdict} ${row.score}</b>
         <small>${branch("local", row)} · ${branch("global", row)}</small>${row.mark ? `<small class="mark">✎ ${escaped(row.mark)}</small>` : ""}${row.seen_in ? `<small class="seen">one of the model's ${row.seen_in} photos</small>` : ""}${row.notes.length ? `<small class="noted" title="${attribute(row.notes.join(" "))}">⚠ ${escaped(row.notes[0])}</small>` : ""}`;
}

function receive() {
  value = JSON.parse(props.value || "null");
  show();
}

function show() {
  if (!value) return;
  const {rows, total, selected} = value, held = document.activeElement === list;
  wanted = null;
  list.innerHTML = rows.map((row) =>
    `<div class="row ${row.index === selected ? "selected" : ""}" role="option" data-index="${row.index}"
          aria-selected="${row.index === selected}">
       <img src="${row.thumbnail}" alt="" loading="lazy">
       <div><span class="name" title="${attribute(row.name)}">${escaped(row.name)}</span>${scored(row)}</div>
     </div>`).join("");
  element.querySelector(".shown").textContent = rows.length < total
    ? `${rows.length} of ${total} photos; narrow the filter, or download the table` : `${total} photo${total === 1 ? "" : "s"}`;
  reveal(list.querySelector(".selected"));
  if (held) list.focus();
}

function reveal(row) {  // scrolls the list alone: on a phone, where the photo is above it, the page must stay
  if (!row) return;
  const at = row.getBoundingClientRect(), of = list.getBoundingClientRect();
  list.scrollTop += Math.min(at.top - of.top, 0) || Math.max(at.bottom - of.bottom, 0);
}

function pick(row) {
  if (!row || !row.querySelector("b")) return;  // not scored yet
  wanted = row;
  list.querySelectorAll(".selected").forEach((other) => other.classList.remove("selected"));
  row.classList.add("selected");
  row.scrollIntoView({block: "nearest"});
  send(Number(row.dataset.index));
}

let timer = null, sent = 0, waiting = null;
function send(index) {  // at most ten requests a second while a key is held; the last position is always sent
  clearTimeout(timer);
  waiting = index;
  timer = setTimeout(sendNow, Math.max(0, sent + 100 - Date.now()));
}
function sendNow() {
  clearTimeout(timer);
  if (waiting === null) return;
  sent = Date.now();
  trigger("pick", {index: waiting});
  waiting = null;
}
element.closest("#workspace").addEventListener("click", (event) => {  // a mark is for the photo that is chosen
  if (event.target.closest("#mark-good, #mark-defect, .quick button")) sendNow();
}, true);

list.addEventListener("click", (event) => { list.focus(); pick(event.target.closest(".row")); });
list.addEventListener("keydown", (event) => {
  const current = wanted || list.querySelector(".selected");
  const first = list.firstElementChild, last = list.lastElementChild;
  const steps = {ArrowDown: current ? current.nextElementSibling : first, Home: first, End: last,
                 ArrowUp: current ? current.previousElementSibling : first};
  if (!(event.key in steps)) return;
  event.preventDefault();
  pick(steps[event.key]);
});
watch("value", receive);
receive();
