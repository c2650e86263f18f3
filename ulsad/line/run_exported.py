"""Judge photos with a model that `python -m ulsad export` wrote:

    python run_exported.py part.onnx photo.jpg …

`judge` needs onnxruntime and numpy alone. Only the last lines, which read files, use Pillow.
"""

import json
import sys

import numpy as np
import onnxruntime


def weights(pixels: int, side: int) -> np.ndarray:
    """(side, pixels): how much of each pixel of a photo's row is in each pixel of the square's."""
    scale = pixels / side
    width = max(scale, 1)  # a triangle that covers the pixels, so that fine patterns don't flicker
    centres = (np.arange(side)[:, None] + 0.5) * scale
    triangle = np.maximum(0, 1 - np.abs(np.arange(pixels) + 0.5 - centres) / width)
    return triangle / triangle.sum(axis=1, keepdims=True)


def square(photo: np.ndarray, side: int) -> np.ndarray:
    """A photo, uint8 (height, width, 3) in RGB, as the model wants it: uint8 (side, side, 3)."""
    rows, columns = weights(photo.shape[0], side), weights(photo.shape[1], side)
    narrow = rounded(np.einsum("sw,hwc->hsc", columns, photo, optimize=True))
    return rounded(np.einsum("sh,hwc->swc", rows, narrow, optimize=True)).astype(np.uint8)


def rounded(values: np.ndarray) -> np.ndarray:
    """Halves up, as Pillow does: what is rounded otherwise changes scores in the third digit."""
    return np.floor(values + 0.500001)


def judge(session: onnxruntime.InferenceSession, photo: np.ndarray) -> dict:
    """The verdict on one photo, its scores, and its maps (side × side, from 0 to about 1)."""
    facts = json.loads(session.get_modelmeta().custom_metadata_map["ulsad"])
    names = [output.name for output in session.get_outputs()]
    found = dict(zip(names, session.run(None, {"squares": square(photo, facts["side"])[None]})))
    return {name: value[0] for name, value in found.items()} | {
        "verdict": facts["verdicts"][int(found["verdict"][0])]}


if __name__ == "__main__":
    from PIL import Image, ImageOps

    model = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
    for file in sys.argv[2:]:
        upright = ImageOps.exif_transpose(Image.open(file)).convert("RGB")
        result = judge(model, np.asarray(upright))
        print(file, result["verdict"], *(f"{score:.4f}" for score in result["scores"]))
