"""What other programs get to know of a judged photo: plain JSON values."""

from __future__ import annotations

import base64
import io
from typing import Any, Literal

import numpy as np

from ulsad.detector.prediction import Prediction
from ulsad.line.judge import Judge
from ulsad.line.pictures import write_maps
from ulsad.line.verdict import Verdict

Maps = Literal["", "picture", "values"]


def answer(judge: Judge, verdict: Verdict, prediction: Prediction | None, maps: Maps = "") -> dict[str, Any]:
    """The verdict, with the photo's "name", what it is based on ("judged_by") and, if asked for, "maps" in
    base64.

    "picture" is a PNG of the photo and its three maps side by side; "values" is an .npz with the normalised
    maps "local", "global" (unless the model has no such branch) and "combined", float32 (s, s), each to be
    stretched over the photo. Without a prediction, as the photo could not be read, "error" says why.
    """
    scores = verdict.to_dict()
    # Not "path": gradio's client would try to download such a file.
    found = {"name": scores.pop("path"), **scores, "judged_by": judge.basis.to_dict()}
    if prediction is None:
        return found | {"error": verdict.notes[0]}
    if not maps:
        return found
    content = io.BytesIO()
    if maps == "picture":
        write_maps(judge, prediction, content)
    else:
        np.savez_compressed(content, **_values(judge, prediction))
    return found | {"maps": base64.b64encode(content.getvalue()).decode()}


def _values(judge: Judge, prediction: Prediction) -> dict[str, Any]:
    criterion = judge.criterion
    found = prediction.maps(criterion.alpha, criterion.beta, criterion.combine)
    maps = {"local": found.local, "global": found.global_, "combined": found.combined}
    return {name: map_.astype(np.float32) for name, map_ in maps.items() if map_ is not None}
