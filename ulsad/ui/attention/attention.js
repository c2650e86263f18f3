// Photo A, where click, hover and arrow keys choose the query patch, and that patch's attention maps.
// value: {photo, other: {src, width, height, name} or null, grid: [rows, columns], patch: [row, column], peek,
// views: {name: {heat, note, title} or null}, text, losses}; a value with `peek` is shown only while hovering.
// On an error: {problem}, and nothing to click.
let pinned = null, shown = null;
let mouse = null;  // mouse position on photo A, as fractions of its size
let going = null;  // the patch that the arrow keys reached; ahead of the answers when keys are pressed fast
const one = (selector) => element.querySelector(selector);
const same = (a, b) => Boolean(a && b) && a[0] === b[0] && a[1] === b[1];

function place(event) {
  const box = one("[data-name=photo] .stage").getBoundingClientRect();
  return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
}

function peek() {
  if (!mouse || same(cell(mouse, pinned.grid), shown.patch)) return;
  send("peek", middle(cell(mouse, pinned.grid)));
}

const middle = ([row, column]) => ({x: (column + 0.5) / pinned.grid[1], y: (row + 0.5) / pinned.grid[0]});

function ask(patch) {
  going = patch.map((at, axis) => Math.min(Math.max(at, 0), pinned.grid[axis] - 1));
  send("ask", middle(going));
}

const onPhoto = (event) => pinned && event.target.closest("[data-name=photo] .stage");
element.addEventListener("pointermove", (event) => {
  if (!onPhoto(event)) return;
  mouse = place(event);
  peek();
});
element.addEventListener("pointerout", (event) => {
  if (!onPhoto(event) || event.target.closest(".stage").contains(event.relatedTarget)) return;
  mouse = null;
  show(pinned);
});
element.addEventListener("click", (event) => {
  const figure = event.target.closest("figure");
  if (onPhoto(event)) {
    const patch = cell(place(event), pinned.grid);
    if (same(patch, shown.patch)) pinned = {...shown, peek: false};  // already shown
    ask(patch);
  } else if (event.target.matches(".save")) {
    const {name} = figure.dataset, onOther = figure.matches(".of-other");
    savePatches(figure, onOther ? shown.other : shown.photo, onOther ? null : shown.patch, shown.grid);
  }
});
const STEPS = {ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1]};
element.addEventListener("keydown", (event) => {
  if (!onPhoto(event) || !STEPS[event.key]) return;
  event.preventDefault();
  mouse = null;  // where it rests is of no interest until it moves
  ask((going || pinned.patch).map((at, axis) => at + STEPS[event.key][axis]));
});

function receive() {
  const value = JSON.parse(props.value || "null");
  if (!value) return;
  answered(value.peek ? "peek" : "ask");
  if (value.problem) { fail(value.problem); return; }
  if (value.peek && (!mouse || !same(cell(mouse, value.grid), value.patch))) { if (mouse) peek(); return; }
  if (!value.peek) {
    pinned = value;
    if (same(going, value.patch)) going = null;
  }
  show(value);
  peek();
}

function fail(problem) {
  pinned = shown = mouse = going = null;
  element.querySelectorAll("figure").forEach((figure) => figure.classList.add("absent"));
  one(".text").innerHTML = problem;
  one(".losses").innerHTML = "";
}

function show(value) {
  if (!value) return;
  shown = value;
  element.querySelectorAll("figure").forEach((figure) => {
    const view = value.views[figure.dataset.name], onOther = figure.matches(".of-other");
    const photo = onOther ? value.other : value.photo, there = Boolean(view && photo);
    figure.classList.toggle("absent", !there);
    if (!there) return;
    const below = figure.querySelector(".photo"), heat = figure.querySelector(".heat");
    figure.style.setProperty("--aspect", photo.width / photo.height);
    if (below.getAttribute("src") !== photo.src) below.src = photo.src;
    if (view.heat) heat.src = view.heat; else heat.removeAttribute("src");
    figure.querySelector("b").textContent = view.title;
    figure.querySelector("figcaption span").textContent = view.note;
    if (!onOther) frame(figure, value.patch, value.grid);
  });
  one(".text").innerHTML = value.text;
  one(".losses").innerHTML = value.losses;
}

watch("value", receive);
receive();
