// Merges layered pictures into one file. Load before the scripts that save views.
async function paint(figure, width, height) {  // the view as displayed, on a canvas of this size in px
  const canvas = Object.assign(document.createElement("canvas"), {width, height});
  const context = canvas.getContext("2d");
  for (const picture of figure.querySelectorAll("img")) {
    if (!picture.getAttribute("src") || getComputedStyle(picture).display === "none") continue;
    await picture.decode();
    context.globalAlpha = picture.matches(".heat") ? Number(getComputedStyle(picture).opacity) : 1;
    context.drawImage(picture, 0, 0, width, height);
  }
  context.globalAlpha = 1;
  return context;
}

function download(canvas, name) {
  const link = document.createElement("a");
  link.href = canvas.toDataURL("image/png");
  link.download = `${name}.png`;
  link.click();
}
