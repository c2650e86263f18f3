// The method as a diagram, like the paper's Figure 2; the nodes of a step are marked. Load before learn.js.
const NODES = {  // name: [x, y, label, steps that it belongs to]; the first one is gone to by a click
  x: [16, 60, "x", [0]], U: [74, 92, "U", [1, 2]], phi: [74, 28, "φ", [6]], A: [132, 60, "A", [5]], psi: [132, 92, "ψ", [3]],
  global: [190, 28, "Û", [6, 7]], second: [190, 62, "Ũ″", [7]], rebuilt: [190, 96, "Ũ′", [3, 4]],
  Mg: [248, 45, "M<tspan dy='-4' font-size='8'>g</tspan>", [7]], Ml: [248, 100, "M<tspan dy='-4' font-size='8'>l</tspan>", [4]], s: [302, 72, "s", [8]],
};
const EDGES = [["x", "U"], ["x", "phi"], ["U", "A"], ["U", "psi"], ["phi", "global"], ["psi", "second"], ["psi", "rebuilt"],
               ["global", "Mg"], ["second", "Mg"], ["rebuilt", "Ml"], ["Mg", "s"], ["Ml", "s"]];

function diagram(step, {global, second}, teacher) {  // pictures that the lesson has; what φ learns from, "A" or "U"
  const line = ([from, to], kind = "") => {
    const [x, y] = NODES[from], [toX, toY] = NODES[to], long = Math.hypot(toX - x, toY - y), cut = 15 / long;
    const at = (share) => [x + share * (toX - x), y + share * (toY - y)];
    const [a, b] = at(cut), [c, d] = at(1 - cut);
    return `<line class="${kind}" x1="${a}" y1="${b}" x2="${c}" y2="${d}" marker-end="url(#arrowhead)"/>`;
  };
  const ofGlobal = ["phi", "A", "global", "second", "Mg"];
  const there = (name) => name === "second" ? Boolean(second) : Boolean(global) || !ofGlobal.includes(name);
  const nodes = Object.entries(NODES).filter(([name]) => there(name)).map(([name, [x, y, label, steps]]) =>
    `<g class="node ${steps.includes(step) ? "now" : ""}" data-go="${steps[0]}" transform="translate(${x} ${y})"><circle r="13"/><text dy="4">${label}</text></g>`);
  const edges = EDGES.filter((ends) => ends.every(there)).map((ends) => line(ends));
  if (global) edges.push(line([teacher, "phi"], "teaches"));
  if (global && !second) edges.push(line(["U", "Mg"]));  // without L_lg, Û is compared with U itself
  return `<svg class="diagram" viewBox="0 8 318 108" role="img" aria-label="The method as a diagram">
    <defs><marker id="arrowhead" viewBox="0 0 6 6" refX="5" refY="3" markerWidth="5" markerHeight="5" orient="auto"><path d="M0 0L6 3L0 6z"/></marker></defs>
    ${edges.join("")}${nodes.join("")}</svg>`;
}
