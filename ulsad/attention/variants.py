"""What if: four small models of the demo's tray, rows of the paper's Table 3, for the tab Learn.

They are the paper's method at a size that can be shipped, and differ in one setting each.
`assets/lesson/train.py` trains them.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

from ulsad.detector import model_file
from ulsad.detector.detector import Ulsad
from ulsad.method.config import Config

STEPS = 960

# The method as in the paper, with nothing of what `quick` adds to its maps; the sizes keep a file below 2 MB.
SMALL = Config(
    frn_width=32, autoencoder_width=16, lean_autoencoder=False, attention_queries=256, steps=STEPS,
    stop_when_still=False, augmented_photos=0, local_metric="plain", relative_maps=False, nearest_patches=0,
    folds=1, combination="mean", global_weight=1.0, reduced_jpegs=False)


@dataclass(frozen=True)
class Variant:
    """One of the models, and what is different in it."""

    name: str  # of its file, without the suffix
    label: str
    look_at: str  # where in the nine steps one sees it; HTML
    changes: dict[str, Any] = field(default_factory=dict)

    @property
    def config(self) -> Config:
        return replace(SMALL, **self.changes)

    def file(self, folder: Path) -> Path:
        return folder / f"{self.name}.safetensors"


WHOLE = Variant(
    "whole", "the paper's method, small",
    "Small networks, no additions: what the others are to be compared with.")
VARIANTS = (
    WHOLE,
    Variant("values", "… directions left out: λ = 0",
            "Steps 4, 5 and 8: only l<sub>v</sub> counts, so a vector that points elsewhere at the same "
            "length costs less.", {"lambda_l": 0.0, "lambda_g": 0.0}),
    Variant("unlinked", "… L_lg left out",
            "Step 8: without Ũ″ to be as blurred as Û, every edge differs from it.",
            {"local_global_loss": False}),
    Variant("features", "… φ learns features, not attention",
            "Step 7: Û must equal U at each patch; which patches belong together is not asked for.",
            {"global_target": "features"}),
)

# Image AUROC in percent on other trays: for each group of defects, of the combined, local and global map.
Found = dict[str, list[float]]
_FOUND = "found"


def with_found(detector: Ulsad, found: Found) -> Ulsad:
    """The same detector with what it found on other trays in its record, which its file keeps."""
    return Ulsad(detector.branches, detector.calibration, detector.held_out, detector.references,
                 detector.record | {_FOUND: found}, detector.criteria)


@cache
def found_in(folder: Path) -> dict[str, Found]:
    """What each of `VARIANTS` found, by name, from the headers of their files."""
    return {variant.name: model_file.read_header(variant.file(folder))["record"][_FOUND]
            for variant in VARIANTS}
