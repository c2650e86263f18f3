// Small SVG charts of scores. Scores span decades, so axes use asinh: linear near 0, then logarithmic.
const at = (score) => Math.asinh(score / 0.1);
const TICKS = [0, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100];

function axis(low, high, from, to) {  // score → px
  const span = Math.max(at(high) - at(low), 1e-6);
  const px = (score) => from + (to - from) * (at(score) - at(low)) / span;
  const score = (x) => 0.1 * Math.sinh(at(low) + span * (x - from) / (to - from));
  return {px, score, low, high, ticks: TICKS.filter((tick) => tick >= low && tick <= high)};
}

function ends(values) {
  const finite = values.filter(Number.isFinite);
  return [Math.min(0, ...finite), 1.15 * Math.max(0.2, ...finite)];
}

const text = (x, y, content, more = "") => `<text x="${x}" y="${y}" ${more}>${content}</text>`;
const bar = (x, y, width, height, kind) =>
  `<rect class="${kind}" x="${x}" y="${y}" width="${Math.max(width, 0)}" height="${Math.max(height, 0)}"/>`;
const upright = (x, top, bottom, kind, more = "") =>
  `<line class="${kind}" x1="${x}" x2="${x}" y1="${top}" y2="${bottom}" ${more}/>`;

function place(event) {  // mouse position in the chart's px
  const svg = element.querySelector("svg"), box = svg.getBoundingClientRect();
  return [(event.clientX - box.left) * svg.viewBox.baseVal.width / box.width,
          (event.clientY - box.top) * svg.viewBox.baseVal.height / box.height];
}
