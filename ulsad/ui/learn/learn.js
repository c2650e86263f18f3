// The nine steps of one photo, or of a photo and a spoiled copy; steps change here, without the server.
// value: {steps: [{title, sentence, more, equation (HTML), beyond: [{text, addition, is_left_out}], pictures, charts: [name]}],
// grid: [rows, columns], sides: [{name, photo: {src, width, height, name}, pictures: {name: {kind, title, src}}}],
// held_out, levels: {moved}, parting, about, patch, way: {variant, stage, left_out},
// teacher: "A" or "U", variants: [{name, label, look_at, found}], learning: {steps, losses} or null},
// patch: {at: [row, column], numbers: for each step [[label, [value for each side]]], sides: [{pictures, charts, notes}]};
// after a click {patch} alone, after α or β moved {redrawn: [pictures], patch, held_out, levels}, for a download
// {file, content}, and on an error {problem}.
let lesson = null, step = 0;
let going = null;  // the patch asked for last; ahead of the answers when keys are pressed fast
const one = (selector) => element.querySelector(selector);
const STEPS = 9, ARROWS = {ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1]};
const escaped = (text) => Object.assign(document.createElement("i"), {textContent: text}).innerHTML;

one(".dots").innerHTML = Array.from({length: STEPS}, (_, i) =>
  `<button data-step="${i}" aria-label="Step ${i + 1}">${i + 1}</button>`).join("");

function go(to) {
  step = Math.min(Math.max(to, 0), STEPS - 1);
  show();
}

function present(on) {
  one(".lesson").classList.toggle("presenting", on);
  one(".present").setAttribute("aria-pressed", on);
  one(".present").textContent = on ? "Leave (Esc)" : "Presentation";
}

function ask([row, column]) {
  const at = [row, column].map((value, axis) => Math.min(Math.max(value, 0), lesson.grid[axis] - 1));
  going = at;
  send("ask", {row: at[0], column: at[1]});
}

element.addEventListener("click", (event) => {
  const button = event.target.closest("button"), figure = event.target.closest("figure");
  if (button?.matches(".present")) present(!one(".presenting"));
  if (!lesson) return;
  if (button?.matches(".print")) printLesson(lesson, sideOf);
  if (button?.matches(".reset")) send("level", {branch: "local", which: "alpha", raw: null});
  if (button?.matches(".back")) go(step - 1);
  else if (button?.matches(".on")) go(step + 1);
  else if (button?.dataset.step) go(Number(button.dataset.step));
  else if (event.target.closest("[data-go]")) go(Number(event.target.closest("[data-go]").dataset.go));
  else if (button?.dataset.form) trigger("take", {side: Number(figure.dataset.side), name: figure.dataset.name, form: button.dataset.form, step});
  else if (event.target.closest(".stage")) {
    const box = event.target.closest(".stage").getBoundingClientRect();
    ask(cell([(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height], lesson.grid));
  }
});

document.addEventListener("keydown", (event) => {
  const handle = event.target.closest?.("#learn .handle");
  if (handle && ["ArrowLeft", "ArrowRight"].includes(event.key)) {
    const {branch} = handle.closest(".histogram").dataset, by = event.key === "ArrowLeft" ? -0.01 : 0.01;
    moveLevel({branch, which: handle.dataset.level}, parseFloat(handle.style.left) / 100 + by);
    event.preventDefault();
    return;
  }
  if (!lesson || !element.checkVisibility() || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "Escape" && one(".presenting")) present(false);
  if (event.target.closest?.("input, textarea, select, [contenteditable=true]")) return;
  if (!ARROWS[event.key]) return;
  if (event.shiftKey) ask((going || lesson.patch.at).map((at, axis) => at + ARROWS[event.key][axis]));
  else if (ARROWS[event.key][1]) go(step + ARROWS[event.key][1]);
  else return;
  event.preventDefault();
});

element.addEventListener("change", ({target}) => {
  if (target.matches("select")) choose({variant: target.value, stage: null, left_out: []});
  if (target.dataset.addition) {
    const others = lesson.way.left_out.filter((name) => name !== target.dataset.addition);
    choose({...lesson.way, left_out: target.checked ? others : [...others, target.dataset.addition]});
  }
});

element.addEventListener("input", ({target}) => {
  if (target.matches(".learning input")) choose({...lesson.way, stage: Number(target.value)});
});

function choose(way) {
  one(".lesson").classList.add("waiting");
  lesson && (lesson.way = way);  // so that the next choice adds to this one
  send("choose", way);
}

let drag = null;  // {branch, which}, while a quantile is moved
function moveLevel({branch, which}, share) {
  const plot = one(`.histogram[data-branch=${branch}]`), {low, high} = plot.dataset;
  const raw = Number(low) + Math.min(Math.max(share, 0), 1) * (high - low);
  plot.querySelector(`[data-level=${which}]`).style.left = `${100 * Math.min(Math.max(share, 0), 1)}%`;
  send("level", {branch, which, raw});
}
element.addEventListener("pointerdown", (event) => {
  const handle = event.target.closest(".handle");
  if (!handle) return;
  drag = {branch: handle.closest(".histogram").dataset.branch, which: handle.dataset.level};
  event.preventDefault();
});
document.addEventListener("pointermove", (event) => {
  const plot = drag && one(`.histogram[data-branch=${drag.branch}] .plot`);
  if (!plot) return;
  const box = plot.getBoundingClientRect();
  moveLevel(drag, (event.clientX - box.left) / box.width);
});
document.addEventListener("pointerup", () => { drag = null; });

const found = (side, name) => lesson.patch.sides[side].pictures[name] || lesson.sides[side].pictures[name];

function figureOf(side, name) {
  const picture = found(side, name), {photo} = lesson.sides[side], over = ["heat", "photo"].includes(picture.kind);
  const below = over ? `<img class="photo" alt="" src="${photo.src}">` : "";
  const above = picture.kind === "photo" ? "" : `<img class="${picture.kind}" alt="" src="${picture.src}">`;
  const note = lesson.patch.sides[side].notes[name] || "";
  return `<figure data-side="${side}" data-name="${name}" style="--aspect: ${photo.width / photo.height}">
    <figcaption><div><b>${picture.title}</b> <span>${note}</span></div>
      <span class="save">${["png", "pdf"].map((form) => `<button data-form="${form}" title="Download as ${form.toUpperCase()}, 300 dpi"
        aria-label="Download ${name} as ${form.toUpperCase()}">${form.toUpperCase()}</button>`).join("")}</span></figcaption>
    <div class="stage"><div class="sheet">${below}${above}<i class="patch"></i></div></div></figure>`;
}

function chartOf(side, name, all) {
  const chart = lesson.patch.sides[side].charts[name], held = lesson.held_out.find((of) => of.name === name);
  if (chart === undefined) return "";
  if (held) return histogram(held, chart);
  if (chart.lengths) return arrows(chart);
  const shared = all.flatMap((of) => lesson.patch.sides.flatMap(({charts}) => charts[of]?.bars || []));
  return bars(chart, Math.max(...shared.map(Math.abs), 1e-12));
}

function sideOf(side, step) {
  const {pictures, charts} = lesson.steps[step], {name, photo} = lesson.sides[side];
  const there = pictures.filter((of) => found(side, of));
  // Before and after standardising differ in scale; that is the point of the step.
  const alike = (of) => step === 2 ? [of] : charts.filter((other) => !other.includes(" "));
  const lines = lesson.sides.length === 1 && there.length > 3 ? 2 : 1;
  const fitting = lesson.sides.length > 1 && there.length > 3 ? charts.filter((of) => of.includes(" ")) : charts;
  const drawn = fitting.map((of) => chartOf(side, of, alike(of))).filter(Boolean);
  return `<div class="side${drawn.length ? " with-charts" : ""}${lines === 2 ? " two-lines" : ""}"><h3>${escaped(name)}</h3>
    <div class="pictures" style="--aspect: ${photo.width / photo.height}; --count: ${Math.ceil(there.length / lines)}; --lines: ${lines}">
      ${there.map((of) => figureOf(side, of)).join("")}</div>
    ${drawn.length ? `<div class="charts">${drawn.join("")}</div>` : ""}</div>`;
}

const beyondOf = ({text, addition}) => addition
  ? `<label class="addition"><input type="checkbox" data-addition="${addition}" ${lesson.way.left_out.includes(addition) ? "" : "checked"}> <span>${text}</span></label>`
  : `<p>${text}</p>`;

function showNetworks() {
  const {variants, way, learning} = lesson, chosen = variants.find(({name}) => name === way.variant), select = one("select");
  one(".networks").hidden = !variants.length;
  select.innerHTML = ["", ...variants.map(({name}) => name)].map((name) =>
    `<option value="${name}" ${name === way.variant ? "selected" : ""}>${name ? variants.find((of) => of.name === name).label : "the demo model"}</option>`).join("");
  const last = learning && learning.steps.length - 1, stage = way.stage ?? last, slider = one(".learning input");
  if (!learning) one(".learning").innerHTML = "";
  else if (slider) slider.value = stage;  // a new one would end a drag
  else one(".learning").innerHTML = `<label>Watch it learn: <input type="range" min="0" max="${last}" value="${stage}" aria-label="Step of the training"></label><div></div>`;
  if (learning) one(".learning div").innerHTML = curves(learning.losses, learning.steps, learning.steps[stage]);
  one(".lesson").classList.toggle("varied", Boolean(chosen) && !learning);
  one(".lesson").classList.toggle("learns", Boolean(learning));
  one(".look").innerHTML = chosen ? chosen.look_at : "";
  one(".found").innerHTML = chosen && step === STEPS - 1 ? foundTable(variants, chosen) : "";
}

function foundTable(variants, chosen) {  // as Table 3: combined, local, global for each group
  const groups = Object.keys(chosen.found), maps = ["combined", "local", "global"];
  const head = groups.map((group) => maps.map((map) => `<th>${group}, ${map}</th>`).join("")).join("");
  const row = ({name, label, found}) => `<tr ${name === chosen.name ? "class='chosen'" : ""}><td>${label}</td>
    ${groups.map((group) => found[group].map((value) => `<td>${value.toFixed(1)}</td>`).join("")).join("")}</tr>`;
  return `<table><tr><th>image AUROC on 100 other trays, one training each</th>${head}</tr>${variants.map(row).join("")}</table>`;
}

function show() {
  const held = document.activeElement?.closest?.("#learn .handle"), of = held?.closest(".histogram").dataset.branch;
  draw();
  if (held) one(`.histogram[data-branch=${of}] [data-level=${held.dataset.level}]`)?.focus();
}

function draw() {
  element.querySelectorAll(".dots button").forEach((dot, i) => {
    dot.classList.toggle("done", i < step);
    if (i === step) dot.setAttribute("aria-current", "step"); else dot.removeAttribute("aria-current");
  });
  one(".back").disabled = step === 0;
  one(".on").disabled = step === STEPS - 1;
  if (!lesson) return;
  const {title, sentence, equation, beyond, pictures} = lesson.steps[step];
  one("h2").textContent = `${step + 1}. ${title}`;
  one(".sentence").innerHTML = sentence;
  one(".equation").innerHTML = equation;
  one(".figure-2").innerHTML = diagram(step, lesson.sides[0].pictures, lesson.teacher);
  one(".beyond").innerHTML = beyond.length ? `<b>Beyond the paper.</b> ${beyond.map(beyondOf).join("")}` : "";
  const missing = !pictures.some((name) => found(0, name));
  one(".rows").innerHTML = missing ? "<p>This model has no global branch, so this step is left out.</p>"
    : lesson.sides.map((_, side) => sideOf(side, step)).join("");
  one(".lesson").classList.toggle("beside", lesson.sides.length > 1);
  const {at, numbers} = lesson.patch;
  const head = lesson.sides.length > 1 ? "<th>photo</th><th>copy</th>" : "<th></th>";
  const back = step === STEPS - 1 && lesson.levels.moved ? "<tr><td colspan='3'><button class='reset'>α and β of the model</button></td></tr>" : "";
  one(".numbers").innerHTML = `<tr><th>${step ? `row ${at[0]}, column ${at[1]}` : "sizes"}</th>${head}</tr>`
    + numbers[step].map(([label, values]) => `<tr><td>${label}</td>${values.map((value) => `<td>${value}</td>`).join("")}</tr>`).join("") + back;
  one(".parting").innerHTML = [4, 7].includes(step) ? lesson.parting : "";  // at both maps
  one(".about").innerHTML = lesson.about;
  showNetworks();
  if (step) element.querySelectorAll(".pictures figure").forEach((figure) => frame(figure, at, lesson.grid));
}

const save = ({file, content}) => Object.assign(document.createElement("a"), {href: content, download: file}).click();

function receive() {
  const value = JSON.parse(props.value || "null");
  if (!value) return;
  if (value.file) return save(value);
  const way = (value.steps || value.problem) && answered("choose");
  if (value.redrawn) answered("level");
  else if (!value.steps && !value.problem) answered("ask");
  one(".lesson").classList.toggle("waiting", Boolean(way));
  element.classList.toggle("failed", Boolean(value.problem));
  if (value.problem) {
    lesson = going = null;
    one("h2").textContent = "";
    one(".sentence").innerHTML = value.problem;
    [".rows", ".figure-2", ".equation", ".beyond", ".numbers", ".parting", ".about", ".learning", ".look", ".found"].forEach((place) => { one(place).innerHTML = ""; });
    return;
  }
  if (!value.steps && !lesson) return;
  if (!value.steps && going?.some((at, axis) => at !== value.patch.at[axis])) return;  // overtaken by a later question
  if (value.redrawn) {
    lesson.sides.forEach((side, i) => Object.assign(side.pictures, value.redrawn[i]));
    Object.assign(lesson, {held_out: value.held_out, levels: value.levels});
  }
  lesson = value.steps ? {...value, way: way || value.way} : {...lesson, patch: value.patch};
  going = null;
  show();
}

watch("value", receive);
receive();
show();
