// Histograms of both branches' held-out good pixels, with lines at their α and β quantiles.
// value: [{name, heights: [0..1], low, high, q_alpha, q_beta, alpha, beta}], raw distances
let value = null;  // sent as text, because gradio would watch every number of an object
const WIDTH = 400, HEIGHT = 158, BOTTOM = 122;
function receive() {
  value = JSON.parse(props.value || "null");
  show();
}

function show() {
  if (!value) return;
  element.querySelector(".chart").innerHTML = value.map((branch) => {
    const step = (WIDTH - 20) / branch.heights.length;
    const px = (raw) => 10 + (WIDTH - 20) * (raw - branch.low) / (branch.high - branch.low);
    const bars = branch.heights.map((height, i) =>
      bar(10 + i * step, BOTTOM - 95 * height, step - 1, 95 * height, "good")).join("");
    const mark = (raw, label, y) => {
      const x = Math.min(px(raw), WIDTH - 10), right = x > WIDTH - 130;
      return upright(x, y - 8, BOTTOM, "line")
        + text(x + (right ? -4 : 4), y, label, `class="label" text-anchor="${right ? "end" : "start"}"`);
    };
    return `<svg viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label="${branch.name}">${bars}
      ${mark(branch.q_alpha, `q_α = ${branch.q_alpha.toPrecision(3)} → 0`, 14)}
      ${mark(branch.q_beta, `q_β = ${branch.q_beta.toPrecision(3)} → 0.1`, 30)}
      ${text(10, BOTTOM + 13, branch.low.toPrecision(2))}
      ${text(WIDTH - 10, BOTTOM + 13, branch.high.toPrecision(3), 'text-anchor="end"')}
      ${text(WIDTH / 2, HEIGHT - 4, `${branch.name} distance of held-out good pixels (logarithmic heights)`,
             'text-anchor="middle"')}</svg>`;
  }).join("");
}
watch("value", receive);
receive();
