// All nine steps on one page of its own, to print or to save as PDF. Load after charts.js and before learn.js.
const PRINTED = `
  @page { size: A4; margin: 14mm; @bottom-right { content: counter(page); font: 9pt system-ui; } }
  .figure-2 { width: 78mm; } .diagram { width: 100%; } .diagram line { stroke: #111; } .diagram .teaches { stroke-dasharray: 3 3; } .diagram circle { fill: #fff; stroke: #111; }
  .diagram text { text-anchor: middle; font-size: 12px; } [data-name="self"] .patch, [data-name="cross"] .patch { outline-width: 0.5px !important; box-shadow: 0 0 0 1.5px #000 !important; }
  body { font: 10pt/1.4 system-ui, sans-serif; color: #111; max-width: 182mm; margin: 1rem auto; }
  h1 { font-size: 17pt; margin: 0 0 2mm; } h2 { font-size: 12.5pt; margin: 0 0 1mm; } h3 { font-size: 9pt; margin: 1mm 0; }
  section { break-inside: avoid; border-top: 1px solid #999; padding: 3mm 0; }
  .to-print { float: right; font: inherit; padding: 0.3rem 0.8rem; }
  .words { display: grid; grid-template-columns: 1fr auto; gap: 5mm; align-items: start; } .words p { margin: 0 0 1.5mm; }
  .pictures { display: flex; gap: 3mm; align-items: end; } .pictures figure { flex: 0 1 52mm; margin: 0; min-width: 0; }
  figcaption { font-size: 8pt; line-height: 1.25; margin-bottom: 1mm; } figcaption span { display: block; } figcaption span { color: #444; } figcaption em { font-style: normal; border: 1px solid; border-radius: 2px; padding: 0 2px; }
  .sheet { position: relative; aspect-ratio: var(--aspect); } .sheet img { position: absolute; inset: 0; width: 100%; height: 100%; }
  [data-name="square"] .sheet { aspect-ratio: 1; width: calc(100% / var(--aspect)); max-width: 100%; }
  .sheet .heat { opacity: 0.75; } .sheet .patches { image-rendering: pixelated; }
  .sheet .patch { display: none; position: absolute; box-sizing: border-box; outline: 1.5px solid #fff; box-shadow: 0 0 0 3px #000; }
  .save { display: none; } .plot { position: relative; padding-bottom: 4mm; }
  .handle { position: absolute; bottom: 0; font-size: 7pt; transform: translateX(-50%); } .handle[data-level="alpha"] { transform: translateX(-90%); } .handle[data-level="beta"] { transform: translateX(-10%); }
  .charts { display: flex; flex-wrap: wrap; gap: 3mm; margin-top: 2mm; } .chart { flex: 1 1 40mm; margin: 0; max-width: 88mm; }
  .chart svg { width: 100%; height: 10mm; border: 1px solid #bbb; } .chart .arrows { height: 14mm; } .chart i { font-style: normal; font-weight: 600; }
  .chart rect { fill: #444; } .chart line { stroke: #111; vector-effect: non-scaling-stroke; } .chart .arrow { stroke-width: 3; }
  .chart :is(line, circle).second { stroke: #c2410c; fill: #c2410c; } .chart line.quantile { stroke: #4338ca; stroke-width: 2; } .chart line.here { stroke: #c2410c; stroke-width: 2; }
  i:is(.second, .here) { color: #b93a08; } i.quantile { color: #4338ca; }
  .equation { border-left: 3px solid #4338ca; padding-left: 3mm; margin: 2mm 0; } .beyond { font-size: 9pt; color: #333; } .beyond p { margin: 0; }
  table { border-collapse: collapse; font-size: 9pt; } td, th { border: 1px solid #bbb; padding: 0.3mm 2mm; text-align: left; }
  li { margin-bottom: 1.5mm; } .answers { break-before: page; }
  @media print { .to-print { display: none; } body { margin: 0; } }`;

function printLesson(lesson, sideOf) {
  const opened = window.open("", "_blank");
  if (!opened) return alert("The browser blocked the page. Allow pop-ups for this address, and try again.");
  const {steps, patch, grid, parting, about, questions} = lesson, sides = lesson.sides.map((side) => ({...side, named: escaped(side.name)}));
  const numbersOf = (step) => `<table><tr><th>${step ? `row ${patch.at[0]}, column ${patch.at[1]}` : "sizes"}</th>${
    sides.length > 1 ? "<th>photo</th><th>copy</th>" : "<th></th>"}</tr>${patch.numbers[step].map(([label, values]) =>
    `<tr><td>${label}</td>${values.map((value) => `<td>${value}</td>`).join("")}</tr>`).join("")}</table>`;
  const sections = steps.map(({title, sentence, more, equation, beyond, pictures}, step) => {
    const shown = pictures.some((name) => sides[0].pictures[name] || patch.sides[0].pictures[name]);
    if (!shown) return `<section><h2>${step + 1}. ${title}</h2><p>This model has no global branch, so this step is left out.</p></section>`;
    return `<section><h2>${step + 1}. ${title}</h2><div class="words"><div><p><b>${sentence}</b> ${more}</p><div class="equation">${equation}</div>
      ${beyond.some((of) => !of.is_left_out) ? `<div class="beyond"><b>Beyond the paper</b>${beyond.filter((of) => !of.is_left_out).map(({text}) => `<p>${text}</p>`).join("")}</div>` : ""}</div>
      ${numbersOf(step)}</div>${sides.map((_, side) => sideOf(side, step)).join("")}${[4, 7].includes(step) && parting ? `<p>${parting}</p>` : ""}</section>`;
  });
  const list = (of) => `<ol>${questions.map((each) => `<li>${each[of]}</li>`).join("")}</ol>`;
  opened.document.write(`<!doctype html><html lang="en"><head><meta charset="utf-8"><base href="${document.baseURI}">
    <title>ULSAD in ten minutes</title><style>${PRINTED}</style></head><body><button class="to-print" onclick="print()">Print</button>
    <h1>ULSAD in ten minutes</h1><p>How one photo, <b>${sides[0].named}</b>, goes through the method in nine steps, about a minute each.
    Every picture and number was computed from this photo${sides.length > 1 ? " and from a spoiled copy of it" : ""}. Equations are numbered as in
    <i>Revisiting Deep Feature Reconstruction for Logical and Structural Industrial Anomaly Detection</i>. A small frame marks the patch whose
    numbers are shown. Maps of steps 5 to 8 run from 0, transparent, to the highest value of all photos shown; those of step 9 from 0 to 1. ${about}</p>
    <div class="words"><div><p><b>What it is for.</b> The method learns from photos of good parts alone and shows where another part differs: by a scratch or
    dirt (structural, the local branch ψ), or because something is missing, surplus or misplaced (logical, the global branch φ).</p>
    <p><b>Training</b> makes three losses small together, on good photos only: L<sub>pl</sub>, ψ rebuilds the features (step 4); L<sub>pg</sub>, φ agrees with the attention of
    the photo (step 7, dotted); L<sub>lg</sub>, a second output of ψ imitates φ (step 8). The network that gives the features stays as it is.</p></div>
    <div class="figure-2">${diagram(-1, sides[0].pictures, lesson.teacher)}</div></div>
    <table><tr><th>x</th><td>the photo as a square</td><th>U, u</th><td>its features; those of one patch</td><th>Ũ′, Ũ″</th><td>what ψ makes of U: rebuilt; imitating Û</td></tr>
    <tr><th>Û, û</th><td>what φ says from the whole photo</td><th>A, Â</th><td>features gathered by attention (steps 6, 7)</td><th>M<sup>l</sup>, M<sup>g</sup>, s</th><td>local and global map, score</td></tr></table>
    ${sections.join("")}
    <section><h2>Five questions</h2>${list("question")}</section><section class="answers"><h2>Answers</h2>${list("answer")}</section></body></html>`);
  opened.document.close();
  opened.document.querySelectorAll(".pictures figure").forEach((figure) => {
    if (figure.closest("section") !== opened.document.querySelector("section")) frame(figure, patch.at, grid);
  });
}
