// Photos divided into patches. Load after pictures.js and before the scripts that show them.
function cell([x, y], [rows, columns]) {  // [row, column] of a position given as fractions of the photo
  const at = (share, count) => Math.min(Math.max(Math.floor(share * count), 0), count - 1);
  return [at(y, rows), at(x, columns)];
}

function frame(figure, [row, column], [rows, columns]) {  // marks the query patch
  const mark = figure.querySelector(".patch");
  Object.assign(mark.style, {left: `${100 * column / columns}%`, top: `${100 * row / rows}%`,
                             width: `${100 / columns}%`, height: `${100 / rows}%`, display: "block"});
}

async function savePatches(figure, photo, patch, [rows, columns]) {
  const context = await paint(figure, photo.width, photo.height);
  if (patch) {
    const width = photo.width / columns, height = photo.height / rows, line = Math.max(2, photo.width / 400);
    [["black", 3 * line], ["white", line]].forEach(([strokeStyle, lineWidth]) => {
      Object.assign(context, {strokeStyle, lineWidth});
      context.strokeRect(patch[1] * width, patch[0] * height, width, height);
    });
  }
  download(context.canvas, `${photo.name} ${figure.dataset.name}`);
}
