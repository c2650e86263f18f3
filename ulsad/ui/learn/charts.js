// Vectors, histograms and losses as small SVGs. Load before learn.js.
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
  const handle = (which, sign, raw) => `<i class="handle" data-level="${which}" tabindex="0" role="slider" style="left: ${px(raw) / 3}%"
    title="drag" aria-label="q ${which} of the ${branch} map" aria-valuemin="${low}" aria-valuemax="${high}" aria-valuenow="${raw}">q<sub>${sign}</sub></i>`;
  return `<figure class="chart histogram" data-branch="${branch}" data-low="${low}" data-high="${high}"><figcaption><b>Held-out good pixels, ${branch}</b>
    <span>${number(low)} to ${number(high)}, heights logarithmic;
    <i class="quantile">q<sub>α</sub> ${number(q_alpha)}, q<sub>β</sub> ${number(q_beta)}</i>; <i class="here">this patch ${number(here)}${here > high ? ", off the scale" : ""}</i></span></figcaption>
    <div class="plot"><svg viewBox="0 0 300 60" preserveAspectRatio="none" role="img" aria-label="held-out good pixels, ${branch}">${rects}
    ${line(q_alpha, "quantile")}${line(q_beta, "quantile")}${line(here, "here")}</svg>
    ${handle("alpha", "α", q_alpha)}${handle("beta", "β", q_beta)}</div></figure>`;
}

function curves(losses, steps, at) {  // of a whole training, each on a logarithmic scale; a line marks one step
  const names = Object.keys(losses), all = Object.values(losses).flat().filter((loss) => loss > 0);
  const low = Math.log(Math.min(...all)), high = Math.log(Math.max(...all)), last = steps[steps.length - 1];
  const paths = names.map((name, k) => {
    const points = losses[name].map((loss, i, row) =>
      `${(300 * (i + 0.5) / row.length).toFixed(1)},${(57 - 54 * (Math.log(Math.max(loss, 1e-9)) - low) / (high - low)).toFixed(1)}`);
    return `<polyline class="loss-${k}" points="${points.join(" ")}"/>`;
  }).join("");
  const named = names.map((name, k) => `<i class="loss-${k}">${name.replace("_", "<sub>")}</sub> ${number(losses[name][Math.min(Math.floor(losses[name].length * at / last), losses[name].length - 1)])}</i>`);
  return `<figure class="chart losses"><figcaption><b>Losses</b> <span>at step ${at} of ${last}, logarithmic: ${named.join(", ")}</span></figcaption>
    <svg viewBox="0 0 300 60" preserveAspectRatio="none" role="img" aria-label="losses of the training">${paths}
    <line class="here" x1="${300 * at / last}" x2="${300 * at / last}" y1="0" y2="60"/></svg></figure>`;
}
