// Views of one photo with shared zoom, hover and drawing. Everything that needs no network happens here.
// value: {photo, width, height, name, views: [{heat, contour, note (HTML), fired}], size, hover: {rows, columns, local,
// global, combined}, reference: {photo, name}, mark: "good", "defect" or "", painted (outline)}; each heat is the coloured map alone, as a data URL.
let value = null;  // sent as text, because gradio would watch every number of an object
const one = (selector) => element.querySelector(selector);
const root = element.closest("#workspace");  // with the panel, where the mouse's tools and the good photo are
const anywhere = (selector) => [...root.querySelectorAll(selector)];
const TWO_STEPS = ["duplicate", "move", "swap"], BRUSHES = ["ignore", "mark"];
const HINTS = {
  look: "Wheel: zoom. Drag: move. Double click: whole photo.",
  scratch: "Draw a line on the photo.",
  erase: "Draw a rectangle around a part.",
  duplicate: "Draw a rectangle around a part, then click where to put the copy.",
  move: "Draw a rectangle around a part, then click where it should go.",
  swap: "Draw a rectangle around a part, then click the middle of the other one.",
  ignore: "Paint over areas to leave out, then press Ignore these areas.",
  mark: "Paint over the defect, then say that this part has one.",
};
let zoom = {scale: 1, x: 0, y: 0};  // x, y: shift as fractions of the view
let drawn = [];  // points of the unfinished line or rectangle
let region = null;  // a rectangle whose destination is still to be clicked
let strokes = [];  // painted areas to ignore, or a painted defect
let painting = false;  // whether the tool is the brush for defects, which is a button and not in the list of tools
let chosen = null;  // the tool
let unit = [1000, 1000];  // size of the drawing; one unit is a thousandth of the photo's longer side

function setZoom(scale, x, y) {
  scale = Math.min(Math.max(scale, 1), 32);
  zoom = {scale, x: Math.min(Math.max(x, 1 - scale), 0), y: Math.min(Math.max(y, 1 - scale), 0)};
  anywhere(".sheet").forEach((sheet) => {
    sheet.style.transform = `translate(${100 * zoom.x}%, ${100 * zoom.y}%) scale(${scale})`;
  });
}

function place(event, clip = true) {  // mouse position as fractions of the photo
  const box = event.target.closest(".stage").getBoundingClientRect();
  const at = [((event.clientX - box.left) / box.width - zoom.x) / zoom.scale,
              ((event.clientY - box.top) / box.height - zoom.y) / zoom.scale];
  return clip ? at.map((share) => Math.min(Math.max(share, 0), 1)) : at;
}

// The panel's tab may not be open yet.
const tool = () => painting ? "mark" : anywhere("[name=tool]:checked")[0]?.value ?? "look";
const path = (points) => "M" + points.map(([x, y]) => `${x * unit[0]},${y * unit[1]}`).join("L");
const brush = () => Number(anywhere(painting ? ".marker input" : ".brush input")[0].value);

function draw() {
  const drawing = one(".drawing");
  if (!value) return;
  const painted = strokes.map((stroke) => [stroke.points, stroke.width]);
  if (drawn.length && BRUSHES.includes(tool())) painted.push([drawn, brush()]);
  drawing.classList.toggle("defect", tool() !== "ignore");
  let html = painted.map(([points, width]) =>
    `<path class="painted" d="${path(points.length > 1 ? points : [points[0], points[0]])}"
           stroke-width="${1000 * width}"/>`).join("");
  const box = region || (drawn.length > 1 && ![...BRUSHES, "scratch"].includes(tool())
                         ? [...drawn[0], ...drawn.at(-1)] : null);
  if (box) {
    const [x0, y0, x1, y1] = box;
    html += `<rect x="${unit[0] * Math.min(x0, x1)}" y="${unit[1] * Math.min(y0, y1)}"
                   width="${unit[0] * Math.abs(x1 - x0)}" height="${unit[1] * Math.abs(y1 - y0)}"/>`;
  }
  if (drawn.length > 1 && tool() === "scratch") html += `<path class="line" d="${path(drawn)}"/>`;
  drawing.innerHTML = html;
}

function drop() {  // discards the unfinished drawing
  drawn = []; region = null; strokes = [];
  draw();
}

function choose() {
  const stays = [tool(), chosen].every((name) => ["look", "mark"].includes(name));  // a defect, to look closer
  if (tool() !== chosen && !stays) drop();
  chosen = tool();
  anywhere(".paint").forEach((button) => button.setAttribute("aria-pressed", painting));
  anywhere(".marker input").forEach((slider) => { slider.value = one(".marker input").value; });
  one(".hint").textContent = HINTS[tool()];
  root.dataset.tool = tool();
  draw();
}

function paintDefect(on) {
  painting = on;
  anywhere("[name=tool][value=look]").forEach((look) => { look.checked = true; });
  choose();
}

function finish() {
  const name = tool();
  if (BRUSHES.includes(name)) {
    strokes.push({points: drawn, width: brush()});
  } else if (name === "scratch") {
    trigger("probe", {tool: name, points: drawn});
  } else if (TWO_STEPS.includes(name)) {
    region = [...drawn[0], ...drawn.at(-1)];
  } else {
    trigger("probe", {tool: name, box: [...drawn[0], ...drawn.at(-1)]});
  }
  drawn = [];
  draw();
}

function hover(event) {
  const {hover: grid} = value, [x, y] = place(event);
  if (!grid) return;  // not scored yet
  const row = Math.min(Math.floor(y * grid.rows), grid.rows - 1);
  const column = Math.min(Math.floor(x * grid.columns), grid.columns - 1);
  const cell = (map) => grid[map] ? grid[map][row * grid.columns + column].toFixed(3) : "–";
  one(".readout").textContent = `x ${Math.floor(x * value.width)}, y ${Math.floor(y * value.height)}: `
    + `local ${cell("local")}, global ${cell("global")}, combined ${cell("combined")}`;
  anywhere(".cross").forEach((cross) => {
    cross.style.left = `${100 * x}%`; cross.style.top = `${100 * y}%`; cross.style.display = "block";
  });
}

let grip = null;  // where a drag began
root.addEventListener("pointerdown", (event) => {
  const stage = event.target.closest(".stage");
  if (!stage || !value || event.button) return;
  event.preventDefault();
  if (tool() === "look" || !value.hover || !stage.querySelector(".drawing")) {
    grip = {x: event.clientX, y: event.clientY, zoom: {...zoom}, box: stage.getBoundingClientRect()};
  } else if (region) {
    trigger("probe", {tool: tool(), box: region, to: place(event)});
    region = null;
    draw();
    return;
  } else {
    drawn = [place(event)];
  }
  stage.setPointerCapture(event.pointerId);
});
root.addEventListener("pointermove", (event) => {
  if (!event.target.closest(".stage") || !value) return;
  if (grip) {
    setZoom(grip.zoom.scale, grip.zoom.x + (event.clientX - grip.x) / grip.box.width,
            grip.zoom.y + (event.clientY - grip.y) / grip.box.height);
  }
  if (drawn.length) { drawn.push(place(event)); draw(); }
  hover(event);
});
root.addEventListener("pointerup", () => {
  grip = null;
  if (drawn.length) finish();
});
root.addEventListener("pointerleave", () => {
  one(".readout").textContent = "";
  anywhere(".cross").forEach((cross) => { cross.style.display = "none"; });
}, true);
root.addEventListener("wheel", (event) => {
  const stage = event.target.closest(".stage");
  if (!stage) return;
  event.preventDefault();
  const box = stage.getBoundingClientRect(), factor = Math.exp(-event.deltaY / 400);
  const x = (event.clientX - box.left) / box.width, y = (event.clientY - box.top) / box.height;
  const scale = Math.min(Math.max(zoom.scale * factor, 1), 32), grown = scale / zoom.scale;
  setZoom(scale, x - (x - zoom.x) * grown, y - (y - zoom.y) * grown);
}, {passive: false});
root.addEventListener("dblclick", (event) => {
  if (event.target.closest(".stage") && tool() === "look") setZoom(1, 0, 0);
});
root.addEventListener("input", (event) => {
  if (event.target.matches(".opacity")) element.style.setProperty("--heat", event.target.value);
  if (event.target.matches(".outline")) element.classList.toggle("no-contour", !event.target.checked);
  if (event.target.matches(".marker input")) {
    anywhere(".marker input").forEach((slider) => { slider.value = event.target.value; });
  }
});
root.addEventListener("change", (event) => { if (event.target.matches("[name=tool]")) choose(); });
root.addEventListener("click", (event) => {
  if (event.target.matches("[name=tool]") && painting) { painting = false; choose(); }
  if (event.target.matches(".paint")) paintDefect(!painting);
  if (event.target.matches(".clear")) drop();
  if (event.target.matches(".good-part")) trigger("good", {});
  if (event.target.matches(".bad-part")) trigger("defect", {});
  if (event.target.matches(".save")) save(event.target.closest("figure"));
  if (event.target.matches(".undo")) { strokes.pop(); draw(); }
  if (event.target.matches(".apply")) {
    if (strokes.length) trigger("ignore", {strokes}); else one(".hint").textContent = "Nothing is painted yet.";
    drop();
  }
  if (event.target.matches(".nothing")) { trigger("ignore", {strokes: []}); drop(); }
});

root.addEventListener("painted", (event) => {  // asked when the photo is marked as a defect
  if (tool() !== "ignore" && strokes.length) event.detail.text = JSON.stringify({photo: value.photo, strokes});
});
root.addEventListener("marked", drop);

const swap = (on) => element.classList.toggle("swapped", on && Boolean(value?.reference));
root.addEventListener("pointerdown", (event) => { if (event.target.matches(".swap")) swap(true); });
for (const name of ["pointerup", "pointercancel", "blur"]) window.addEventListener(name, () => swap(false));

const KEYS = {  // also in the panel's help
  j: () => step("ArrowDown"), k: () => step("ArrowUp"), g: () => swap(true),
  o: () => one(".outline").click(), h: toggleHeat,
  "?": () => anywhere("#panel [role=tab]").find((tab) => tab.textContent.trim() === "?")?.click(),
};
function step(key) {  // through the list of photos
  anywhere("#batch .rows")[0].dispatchEvent(new KeyboardEvent("keydown", {key}));
}
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") drop();
  const writes = event.target.closest?.("input:not([type=range], [type=radio], [type=checkbox]), textarea, select");
  if (writes || !element.offsetParent || event.ctrlKey || event.metaKey || event.altKey) return;
  const key = event.key.toLowerCase();
  if (key in KEYS && !(event.repeat && "goh?".includes(key))) KEYS[key]();
});
document.addEventListener("keyup", (event) => { if (event.key.toLowerCase() === "g") swap(false); });
function toggleHeat() {
  const slider = one(".opacity"), shown = Number(slider.value);
  if (shown) slider.dataset.before = shown;
  slider.value = shown ? 0 : slider.dataset.before ?? 0.6;
  slider.dispatchEvent(new Event("input", {bubbles: true}));
}

async function save(figure) {  // the view as displayed, at the photo's own size
  const good = figure.matches(".expected") ? figure.querySelector(".photo") : null, {name} = value;
  const [width, height] = good ? [good.naturalWidth, good.naturalHeight] : [value.width, value.height];
  const context = await paint(figure, width, height);
  for (const line of figure.querySelectorAll(".lines path:not(.shade)")) {
    if (!line.getAttribute("d") || element.matches(".no-contour")) continue;
    const outline = new Path2D(), scaled = new DOMMatrix().scale(width / value.size, height / value.size);
    outline.addPath(new Path2D(line.getAttribute("d")), scaled);
    Object.assign(context, {strokeStyle: getComputedStyle(line).stroke, lineWidth: Math.max(1.5, width / 400)});
    context.stroke(outline);
  }
  download(context.canvas, `${name} ${figure.dataset.name}`);
}

// As many columns as make the views largest.
const CAPTION = 30, GAP = 8;
function arrange() {
  root.style.setProperty("--above", `${Math.round(root.getBoundingClientRect().top + window.scrollY)}px`);
  if (!value) return;
  const {width, height} = one(".views").getBoundingClientRect(), aspect = value.width / value.height;
  const room = getComputedStyle(root).overflowY === "hidden" ? height : Math.max(window.innerHeight - 330, 380);
  const side = (columns) => {
    const rows = 4 / columns, across = (width - GAP * (columns - 1)) / columns;
    return Math.min(across, ((room - GAP * (rows - 1)) / rows - CAPTION) * aspect);
  };
  const isPhone = window.innerWidth <= 600;  // where the style puts them in a row to be swiped
  const columns = isPhone ? 1 : [1, 2, 4].sort((a, b) => side(b) - side(a))[0];
  const stage = isPhone ? width : Math.max(Math.floor(side(columns)), 60);
  element.style.setProperty("--columns", columns);
  element.style.setProperty("--stage", `${stage}px`);
  one(".views").classList.toggle("small", stage < 280);
}
new ResizeObserver(arrange).observe(one(".views"));
window.addEventListener("resize", arrange);

function receive() {
  value = JSON.parse(props.value || "null");
  show();
}

function show() {
  if (!value) return;
  const aspect = value.width / value.height, longer = Math.max(value.width, value.height);
  unit = [1000 * value.width / longer, 1000 * value.height / longer];
  one(".drawing").setAttribute("viewBox", `0 0 ${unit[0]} ${unit[1]}`);
  if (one("[data-name=photo] .photo").getAttribute("src") !== value.photo) drop();
  if (root.style.getPropertyValue("--aspect") !== String(aspect)) setZoom(1, 0, 0);
  root.style.setProperty("--aspect", aspect);
  one(".views").classList.toggle("long", aspect > 4);
  one(".views").classList.toggle("tall", aspect < 1 / 4);
  anywhere("figure.of-photo").forEach((figure, i) => {
    const view = value.views[i], photo = figure.querySelector(".photo"), heat = figure.querySelector(".heat");
    if (photo.getAttribute("src") !== value.photo) photo.src = value.photo;
    if (view.heat) heat.src = view.heat; else heat.removeAttribute("src");
    figure.classList.toggle("fired", view.fired);
    figure.querySelector("figcaption span").innerHTML = view.note;
    figure.querySelectorAll(".contour").forEach((line) => line.setAttribute("d", view.contour));
    figure.querySelectorAll(".said").forEach((line) => line.setAttribute("d", value.painted));
    figure.querySelector(".lines").setAttribute("viewBox", `0 0 ${value.size} ${value.size}`);
  });
  one(".legend").innerHTML = value.legend;
  one(".good-part").setAttribute("aria-pressed", value.mark === "good");
  one(".bad-part").setAttribute("aria-pressed", value.mark === "defect");
  arrange();
  showReference();
  draw();
}

function showReference() {
  const [expected] = anywhere(".expected");
  if (!value) return;
  if (value.reference) one(".good").src = value.reference.photo; else one(".good").removeAttribute("src");
  if (!expected) return;  // its tab was not opened yet
  expected.style.visibility = value.reference ? "visible" : "hidden";
  if (!value.reference) return;
  const picture = expected.querySelector(".photo");
  picture.onload = () => expected.style.setProperty("--aspect", picture.naturalWidth / picture.naturalHeight);
  picture.src = value.reference.photo;
  expected.querySelector("figcaption").title = expected.querySelector("span").textContent = value.reference.name;
}

root.addEventListener("arrived", () => { choose(); showReference(); });
watch("value", receive);
choose();
receive();
