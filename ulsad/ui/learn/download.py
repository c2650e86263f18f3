"""One picture of a lesson as a PNG or PDF for print."""

from __future__ import annotations

from io import BytesIO

from PIL import Image, ImageDraw

from ulsad.errors import InputError
from ulsad.ui.learn.views import Layer, LessonView

RESOLUTION = 300  # dots per inch
LONGEST, SHORTEST = 2100, 1050  # px of the longer side: 7 and 3.5 inches
OPACITY = 0.75  # of a map over the photo, as on the screen
FORMATS = ("png", "pdf")


def taken(
    view: LessonView, side: int, name: str, place: tuple[int, int], form: str, step: int
) -> tuple[str, bytes]:
    """The file's name and content. At all steps but the first, the chosen patch is framed.

    Raises `InputError` where there is no such picture.
    """
    if form not in FORMATS or not 0 <= side < len(view.lessons):
        raise InputError("There is no such picture. Reload the page.")
    try:
        photo, layer = view.layer(side, name, *place)
    except KeyError as error:
        raise InputError("There is no such picture. Reload the page.") from error
    picture = _laid_over(photo, layer)
    if step:
        _frame(picture, place, view.first.grid)
    buffer = BytesIO()
    if form == "png":
        picture.save(buffer, "PNG", dpi=(RESOLUTION, RESOLUTION))
    else:
        picture.save(buffer, "PDF", resolution=RESOLUTION, quality=95, title=f"{view.names[side]}, {name}")
    return f"{view.names[side]} step {step + 1} {name}.{form}", buffer.getvalue()


def _laid_over(photo: Image.Image, layer: Layer) -> Image.Image:
    """In the photo's shape; the photo itself below a map."""
    size = _size(photo.size if layer.image is None or layer.kind != "picture" else layer.image.size)
    if layer.image is None:
        return photo.resize(size, Image.Resampling.LANCZOS)
    if layer.kind == "heat":
        below = photo.resize(size, Image.Resampling.LANCZOS).convert("RGBA")
        heat = layer.image.convert("RGBA").resize(size, Image.Resampling.BILINEAR)
        heat.putalpha(heat.getchannel("A").point(lambda value: round(OPACITY * value)))
        return Image.alpha_composite(below, heat).convert("RGB")
    of_patches = layer.kind == "patches"
    return layer.image.convert("RGB").resize(
        size, Image.Resampling.NEAREST if of_patches else Image.Resampling.LANCZOS)


def _size(size: tuple[int, int]) -> tuple[int, int]:
    """So that it prints 3.5 to 7 inches long."""
    longest = max(size)
    scale = min(max(longest, SHORTEST), LONGEST) / longest
    return max(1, round(scale * size[0])), max(1, round(scale * size[1]))


def _frame(picture: Image.Image, place: tuple[int, int], grid: tuple[int, int]) -> None:
    (row, column), width, height = place, picture.width / grid[1], picture.height / grid[0]
    box = (column * width, row * height, (column + 1) * width, (row + 1) * height)
    line, draw = max(2, picture.width // 400), ImageDraw.Draw(picture)
    around = (box[0] - line, box[1] - line, box[2] + line, box[3] + line)
    draw.rectangle(around, outline="black", width=3 * line)
    draw.rectangle(box, outline="white", width=line)
