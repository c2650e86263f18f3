// Local vs. global score in four quadrants. A click selects the nearest photo.
// value: {points: [[index, local, global, verdict]], local, global, selected}
let value = null;  // sent as text, because gradio would watch every number of an object
const WIDTH = 400, HEIGHT = 330, LEFT = 44, BOTTOM = 292, TOP = 12;
let x = null, y = null;

function receive() {
  value = JSON.parse(props.value || "null");
  show();
}

function show() {
  if (!value) return;
  const {points, local, global, selected} = value;
  const plain = global === null;  // a model without a global branch
  x = axis(...ends([...points.map((point) => point[1]), local]), LEFT, WIDTH - 12);
  y = axis(...ends([...points.map((point) => point[2] ?? 0), global ?? 0]), BOTTOM, TOP);
  const marks = points.map(([index, l, g, verdict]) =>
    `<circle class="${verdict} ${index === selected ? "selected" : ""}" data-index="${index}" cx="${x.px(l)}"
             cy="${y.px(g ?? 0)}" r="${index === selected ? 7 : 4.5}"/>`).join("");
  const quadrant = (px, py, name, anchor) => text(px, py, name, `class="label" text-anchor="${anchor}"`);
  element.querySelector(".chart").innerHTML =
    `<svg viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label="local vs. global score">
     ${upright(x.px(local), TOP, BOTTOM, "line")}
     ${plain ? "" : `<line class="line" x1="${LEFT}" x2="${WIDTH - 12}" y1="${y.px(global)}" y2="${y.px(global)}"/>`}
     ${quadrant(LEFT + 4, BOTTOM - 6, "neither", "start")}${quadrant(WIDTH - 14, BOTTOM - 6, "local: patches", "end")}
     ${plain ? quadrant(LEFT + 4, TOP + 10, "this model has no global branch", "start")
             : quadrant(LEFT + 4, TOP + 10, "global: whole photo", "start") + quadrant(WIDTH - 14, TOP + 10, "both", "end")}
     ${x.ticks.map((tick) => text(x.px(tick), BOTTOM + 14, tick, 'text-anchor="middle"')).join("")}
     ${y.ticks.map((tick) => text(LEFT - 6, y.px(tick) + 4, tick, 'text-anchor="end"')).join("")}
     ${text((LEFT + WIDTH) / 2, HEIGHT - 6, "local score", 'text-anchor="middle"')}
     ${text(12, (TOP + BOTTOM) / 2, "global score",
            `text-anchor="middle" transform="rotate(-90 12 ${(TOP + BOTTOM) / 2})"`)}
     ${marks}</svg>`;
}

element.addEventListener("click", (event) => {
  if (!value || !event.target.closest("svg")) return;
  const [px, py] = place(event);
  let nearest = null, best = 20;
  value.points.forEach(([index, l, g]) => {
    const distance = Math.hypot(x.px(l) - px, y.px(g ?? 0) - py);
    if (distance < best) { best = distance; nearest = index; }
  });
  if (nearest !== null) trigger("pick", {index: nearest});
});
watch("value", receive);
receive();
