// The nine steps of one photo, or of a photo and a spoiled copy; steps change here, without the server.
// value: {steps: [{title, sentence, equation, beyond (HTML), pictures, charts: [name]}], grid: [rows, columns],
// sides: [{name, photo: {src, width, height, name}, pictures: {name: {kind, title, src}}}], held_out, parting, about, patch},
// patch: {at: [row, column], numbers: for each step [[label, [value for each side]]], sides: [{pictures, charts, notes}]};
// after a click {patch} alone, and on an error {problem}.
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
  trigger("ask", {row: at[0], column: at[1]});
}

element.addEventListener("click", (event) => {
  const button = event.target.closest("button"), figure = event.target.closest("figure");
  if (button?.matches(".present")) present(!one(".presenting"));
  if (!lesson) return;
  if (button?.matches(".back")) go(step - 1);
  else if (button?.matches(".on")) go(step + 1);
  else if (button?.dataset.step) go(Number(button.dataset.step));
  else if (button?.matches(".save")) savePicture(figure);
  else if (event.target.closest(".stage")) {
    const box = event.target.closest(".stage").getBoundingClientRect();
    ask(cell([(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height], lesson.grid));
  }
});

document.addEventListener("keydown", (event) => {
  if (!lesson || !element.checkVisibility() || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.closest?.("input, textarea, select, [contenteditable=true]")) return;
  if (event.key === "Escape" && one(".presenting")) present(false);
  if (!ARROWS[event.key]) return;
  if (event.shiftKey) ask((going || lesson.patch.at).map((at, axis) => at + ARROWS[event.key][axis]));
  else if (ARROWS[event.key][1]) go(step + ARROWS[event.key][1]);
  else return;
  event.preventDefault();
});

function savePicture(figure) {  // as displayed, in the photo's shape
  const {photo} = lesson.sides[figure.dataset.side];
  const named = {name: `${photo.name} step ${step + 1}`};
  const scale = Math.max(1, 512 / Math.max(photo.width, photo.height));
  savePatches(figure, {...named, width: Math.round(photo.width * scale), height: Math.round(photo.height * scale)},
              step ? lesson.patch.at : null, lesson.grid);
}

const found = (side, name) => lesson.patch.sides[side].pictures[name] || lesson.sides[side].pictures[name];

function figureOf(side, name) {
  const picture = found(side, name), {photo} = lesson.sides[side], over = ["heat", "photo"].includes(picture.kind);
  const below = over ? `<img class="photo" alt="" src="${photo.src}">` : "";
  const above = picture.kind === "photo" ? "" : `<img class="${picture.kind}" alt="" src="${picture.src}">`;
  const note = lesson.patch.sides[side].notes[name] || "";
  return `<figure data-side="${side}" data-name="${name}" style="--aspect: ${photo.width / photo.height}">
    <figcaption><div><b>${picture.title}</b> <span>${note}</span></div>
      <button class="save" title="Download as PNG" aria-label="Download ${name} as PNG">⤓</button></figcaption>
    <div class="stage"><div class="sheet">${below}${above}<i class="patch"></i></div></div></figure>`;
}

const number = (value) => Number(value.toPrecision(3));

function bars({title, bars: values}, high) {  // one bar for each channel, from -high to high
  const middle = Math.min(...values) < 0 ? 30 : 58, tall = middle === 30 ? 28 : 56, wide = 300 / values.length;
  const rects = values.map((value, i) => {
    const height = tall * Math.min(Math.abs(value) / high, 1);
    return `<rect x="${(i * wide).toFixed(2)}" y="${(value < 0 ? middle : middle - height).toFixed(2)}" width="${(0.9 * wide).toFixed(2)}" height="${height.toFixed(2)}"/>`;
  }).join("");
  return `<figure class="chart"><figcaption><b>${title}</b> <span>${values.length} numbers, up to ${number(high)}</span></figcaption>
    <svg viewBox="0 0 300 60" preserveAspectRatio="none" role="img" aria-label="${title}">${rects}
    <line x1="0" x2="300" y1="${middle}" y2="${middle}"/></svg></figure>`;
}

function arrows({title, names, lengths, angle}) {  // in the plane that both vectors span
  const scale = 52 / Math.max(...lengths, 1e-12), turned = angle * Math.PI / 180, left = 60;
  const arrow = (length, turn, kind, y) => {
    const x = left + scale * length * Math.cos(turn), end = y - scale * length * Math.sin(turn);
    return `<line class="arrow ${kind}" x1="${left}" y1="${y}" x2="${x}" y2="${end}"/><circle class="${kind}" cx="${x}" cy="${end}" r="2.5"/>`;
  };
  return `<figure class="chart"><figcaption><b>${title}</b> <span>as arrows: <i class="first">${names[0]}</i> ${number(lengths[0])} long,
    <i class="second">${names[1]}</i> ${number(lengths[1])}, ${angle.toFixed(0)}° apart</span></figcaption>
    <svg class="arrows" viewBox="0 0 120 60" role="img" aria-label="${title}, ${angle.toFixed(0)} degrees apart">
    ${arrow(lengths[0], 0, "first", 56)}${arrow(lengths[1], turned, "second", 56)}</svg></figure>`;
}

function histogram({branch, heights, low, high, q_alpha, q_beta}, here) {
  const px = (raw) => 300 * Math.min(Math.max((raw - low) / (high - low), 0), 1), wide = 300 / heights.length;
  const rects = heights.map((height, i) =>
    `<rect x="${i * wide}" y="${58 - 56 * height}" width="${0.9 * wide}" height="${56 * height}"/>`).join("");
  const line = (raw, kind) => `<line class="${kind}" x1="${px(raw)}" x2="${px(raw)}" y1="0" y2="60"/>`;
  return `<figure class="chart"><figcaption><b>Held-out good pixels, ${branch}</b> <span>${number(low)} to ${number(high)}, heights logarithmic;
    <i class="quantile">q<sub>α</sub> ${number(q_alpha)}, q<sub>β</sub> ${number(q_beta)}</i>; <i class="here">this patch ${number(here)}</i></span></figcaption>
    <svg viewBox="0 0 300 60" preserveAspectRatio="none" role="img" aria-label="held-out good pixels, ${branch}">${rects}
    ${line(q_alpha, "quantile")}${line(q_beta, "quantile")}${line(here, "here")}</svg></figure>`;
}

function chartOf(side, name, all) {
  const chart = lesson.patch.sides[side].charts[name], held = lesson.held_out.find((of) => of.name === name);
  if (chart === undefined) return "";
  if (held) return histogram(held, chart);
  if (chart.lengths) return arrows(chart);
  const shared = all.flatMap((of) => lesson.patch.sides.flatMap(({charts}) => charts[of]?.bars || []));
  return bars(chart, Math.max(...shared.map(Math.abs), 1e-12));
}

function sideOf(side) {
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

function show() {
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
  one(".beyond").innerHTML = beyond ? `<b>Beyond the paper.</b> ${beyond}` : "";
  const missing = !pictures.some((name) => found(0, name));
  one(".rows").innerHTML = missing ? "<p>This model has no global branch, so this step is left out.</p>"
    : lesson.sides.map((_, side) => sideOf(side)).join("");
  one(".lesson").classList.toggle("beside", lesson.sides.length > 1);
  const {at, numbers} = lesson.patch;
  const head = lesson.sides.length > 1 ? "<th>photo</th><th>copy</th>" : "<th></th>";
  one(".numbers").innerHTML = `<tr><th>${step ? `row ${at[0]}, column ${at[1]}` : "sizes"}</th>${head}</tr>`
    + numbers[step].map(([label, values]) => `<tr><td>${label}</td>${values.map((value) => `<td>${value}</td>`).join("")}</tr>`).join("");
  one(".parting").innerHTML = [4, 7].includes(step) ? lesson.parting : "";  // at both maps
  one(".about").innerHTML = lesson.about;
  if (step) element.querySelectorAll(".pictures figure").forEach((figure) => frame(figure, at, lesson.grid));
}

function receive() {
  const value = JSON.parse(props.value || "null");
  if (!value) return;
  element.classList.toggle("failed", Boolean(value.problem));
  if (value.problem) {
    lesson = going = null;
    one("h2").textContent = "";
    one(".sentence").innerHTML = value.problem;
    [".rows", ".equation", ".beyond", ".numbers", ".parting", ".about"].forEach((place) => { one(place).innerHTML = ""; });
    return;
  }
  if (!value.steps && !lesson) return;
  if (!value.steps && going?.some((at, axis) => at !== value.patch.at[axis])) return;  // overtaken by a later question
  lesson = value.steps ? value : {...lesson, patch: value.patch};
  going = null;
  show();
}

watch("value", receive);
receive();
show();
