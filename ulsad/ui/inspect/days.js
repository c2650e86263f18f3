// Scores and distances day by day, newest right, over those of good photos.
// value: {labels, counts, charts: [{name, days: [[low, median, high, drifted]], band: [5 quantiles] | null,
// review | null}], words}; words is HTML
let value = null;  // sent as text, because gradio would watch every number of an object
const WIDTH = 400, HEIGHT = 170, LEFT = 34, RIGHT = 392, TOP = 16, BOTTOM = 138, STEP = 36;
const FINE = [0, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.7, 1, 1.5, 2, 3, 5, 10, 20, 50, 100];

function receive() {
  value = JSON.parse(props.value || "null");
  show();
}

function show() {
  if (!value) return;
  element.querySelector(".chart").innerHTML = value.labels.length ? value.charts.map(drawn).join("") : "";
  element.querySelector(".words").innerHTML = value.words;
}

function drawn({name, days, band, review}) {
  const every = [...days.flatMap((day) => day.slice(0, 3)), ...(band ?? []), review ?? days[0][0]];
  const lowest = Math.min(...every), highest = Math.max(...every), room = 0.05 * (at(highest) - at(lowest)) + 0.01;
  const y = axis(0.1 * Math.sinh(at(lowest) - room), 0.1 * Math.sinh(at(highest) + room), BOTTOM, TOP);
  const step = Math.min(STEP, (RIGHT - LEFT - 16) / Math.max(days.length - 1, 1));
  const x = (i) => RIGHT - 8 - step * (days.length - 1 - i);
  const stripe = (low, high, kind) => bar(LEFT, y.px(high), RIGHT - LEFT, y.px(low) - y.px(high), kind);
  const level = (height, kind) =>
    `<line class="${kind}" x1="${LEFT}" x2="${RIGHT}" y1="${y.px(height)}" y2="${y.px(height)}"/>`;
  const good = band ? stripe(band[0], band[4], "good wide") + stripe(band[1], band[3], "good") : "";
  const limit = review === null ? "" : level(review, "line review")
    + text(LEFT + 4, y.px(review) - 4, `review ${review.toFixed(2)}`, 'class="label"');
  const median = `<polyline class="median" points="${days.map((day, i) => `${x(i)},${y.px(day[1])}`).join(" ")}"/>`;
  const marks = days.map(([low, middle, high, drifted], i) =>
    `<g><title>${value.labels[i]}: ${value.counts[i]} photos, median ${name} ${middle.toFixed(2)}, middle half ${
      low.toFixed(2)} to ${high.toFixed(2)}${drifted ? ", higher than good photos" : ""}</title>
     ${upright(x(i), y.px(high), y.px(low), "middle")}
     <circle class="day" cx="${x(i)}" cy="${y.px(middle)}" r="4"/>
     ${drifted ? text(x(i), y.px(high) - 5, "▲", 'class="drifted" text-anchor="middle"') : ""}</g>`).join("");
  const apart = Math.ceil(52 / step);
  const dates = days.map((_, i) => (days.length - 1 - i) % apart ? "" :
    text(Math.min(x(i), RIGHT - 12), BOTTOM + 14, value.labels[i], 'text-anchor="middle"')).join("");
  const ticks = FINE.filter((tick) => tick >= y.low && tick <= y.high).reduce((kept, tick) =>
    kept.length && y.px(kept.at(-1)) - y.px(tick) < 14 ? kept : [...kept, tick], []);
  return `<svg viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label="${name} day by day">${good}${limit}${median}${marks}${dates}
    ${ticks.map((tick) => text(LEFT - 5, y.px(tick) + 4, tick, 'text-anchor="end"')).join("")}
    ${text(LEFT, HEIGHT - 3, `${name} of each day's photos${band ? ", over good photos (grey)" : ""}`)}</svg>`;
}
watch("value", receive);
receive();
