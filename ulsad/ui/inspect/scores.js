// Histograms of held-out good photos (back) and the open batch (front), with two thresholds to drag.
// value: {held_out: [...], batch: [...], review, fail}
let value = null;  // sent as text, because gradio would watch every number of an object
const WIDTH = 400, HEIGHT = 190, BINS = 48, TOP = 26, BOTTOM = 160;
const NAMES = ["review", "fail"];
let lines = {}, scale = null, dragged = null, start = {}, timer = null;

function counts(scores) {
  const bins = Array(BINS).fill(0);
  scores.forEach((score) => {
    const share = (at(score) - at(scale.low)) / (at(scale.high) - at(scale.low));
    bins[Math.min(Math.max(Math.floor(share * BINS), 0), BINS - 1)] += 1;
  });
  return bins;
}

function draw() {
  const held = document.activeElement?.dataset?.line;
  const {held_out, batch} = value, step = (WIDTH - 20) / BINS;
  const side = (scores, kind) => {
    const bins = counts(scores), most = Math.max(1, ...bins);
    return bins.map((n, i) => bar(10 + i * step, BOTTOM - (BOTTOM - TOP) * n / most, step - 1,
                                  (BOTTOM - TOP) * n / most, kind)).join("");
  };
  const grips = NAMES.map((name, i) => {
    const x = scale.px(lines[name]);
    return upright(x, 8, BOTTOM, `line ${name}`)
      + `<g class="grip" data-line="${name}" tabindex="0" role="slider" aria-label="${name}"
            aria-valuenow="${lines[name].toFixed(3)}"><rect x="${x - 9}" y="0" width="18" height="${BOTTOM}"/>`
      + `<path class="${name}" d="M${x - 6},2h12l-6,9z"/></g>`
      + label(i, x, `${name} ${lines[name].toFixed(3)}`);
  }).join("");
  const ticks = scale.ticks.map((tick) => text(scale.px(tick), BOTTOM + 13, tick, 'text-anchor="middle"')).join("");
  element.querySelector(".chart").innerHTML =
    `<svg viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label="scores">${side(held_out, "good")}
     ${side(batch, "batch")}${ticks}${grips}
     ${text(10, HEIGHT - 3, `scores of ${held_out.length} held-out good photos (grey) and ${batch.length} open photos`)}
     </svg>`;
  if (held) element.querySelector(`[data-line=${held}]`).focus();
  const above = (line) => batch.filter((score) => score > line).length;
  const fail = above(lines.fail), review = above(lines.review) - fail;
  element.querySelector(".tally").innerHTML = `<b class="pass">${batch.length - review - fail} pass</b>`
    + `<b class="review">${review} review</b><b class="fail">${fail} fail</b>`;
}

function label(i, x, content) {  // "review" left of its line, "fail" right of its line, both inside the chart
  const left = i ? x > WIDTH - 80 : x > 80;
  return text(x + (left ? -9 : 9), i && left ? 24 : 11, content, `class="label" text-anchor="${left ? "end" : "start"}"`);
}

function set(name, score) {  // pushes the other line out of the way; it returns when there is room
  lines = {...start, [name]: score};
  if (lines.review > lines.fail) lines[NAMES[1 - NAMES.indexOf(name)]] = score;
  draw();
}

function receive() {
  value = JSON.parse(props.value || "null");
  show();
}

function show() {
  if (!value || dragged || timer) return;
  const {held_out, batch, review, fail} = value;
  lines = {review, fail};
  scale = axis(...ends([...held_out, ...batch, fail]), 10, WIDTH - 10);
  draw();
}

element.addEventListener("pointerdown", (event) => {
  const grip = event.target.closest(".grip");
  if (!grip) return;
  event.preventDefault();
  dragged = grip.dataset.line;
  start = lines;
  element.setPointerCapture(event.pointerId);
});
element.addEventListener("pointermove", (event) => {
  if (!dragged) return;
  set(dragged, scale.score(Math.min(Math.max(place(event)[0], 10), WIDTH - 10)));
});
element.addEventListener("pointerup", () => {
  if (!dragged) return;
  dragged = null;
  trigger("threshold", {...lines});
});
element.addEventListener("keydown", (event) => {
  const grip = event.target.closest(".grip"), step = {ArrowLeft: -1, ArrowRight: 1}[event.key];
  if (!grip || !step) return;
  event.preventDefault();
  const name = grip.dataset.line;
  start = lines;
  set(name, scale.score(Math.min(Math.max(scale.px(lines[name]) + 3 * step, 10), WIDTH - 10)));
  clearTimeout(timer);
  timer = setTimeout(() => { timer = null; trigger("threshold", {...lines}); }, 250);
});
watch("value", receive);
receive();
