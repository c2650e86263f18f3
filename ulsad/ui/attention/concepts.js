// The concepts of a photo, most distinct first; clicking a map makes its medoid the query patch.
// value: {photo: {src, width, height, name}, grid: [rows, columns], concepts: [{patch: [row, column], heat, note}]}
let value = null;

function figure(concept, number) {
  const made = document.createElement("figure");
  made.dataset.name = `concept ${number}`;
  made.innerHTML = `<figcaption><div><b>Concept ${number}</b> <span>${concept.note}</span></div>
    <button class="save" title="Download as PNG" aria-label="Download concept ${number} as PNG">⤓</button>
    </figcaption><button class="stage" aria-label="Query the patch of concept ${number}"><div class="sheet">
    <img class="photo" alt="" src="${value.photo.src}"><img class="heat" alt="" src="${concept.heat}">
    <i class="patch"></i></div></button>`;
  made.style.setProperty("--aspect", value.photo.width / value.photo.height);
  frame(made, concept.patch, value.grid);
  return made;
}

element.addEventListener("click", (event) => {
  const chosen = event.target.closest("figure");
  if (!chosen) return;
  const {patch: [row, column]} = value.concepts[[...element.querySelectorAll("figure")].indexOf(chosen)];
  if (event.target.closest(".save")) savePatches(chosen, value.photo, [row, column], value.grid);
  else trigger("ask", {x: (column + 0.5) / value.grid[1], y: (row + 0.5) / value.grid[0]});
});

function receive() {
  value = JSON.parse(props.value || "null");
  element.querySelector(".strip").replaceChildren(
    ...(value ? value.concepts.map((concept, i) => figure(concept, i + 1)) : []));
}

watch("value", receive);
receive();
