"""Train the small models of the tab Learn: python assets/lesson/train.py [FOLDER]

Draws part trays, trains the four variants of `ulsad/attention/variants.py` and the stages of the first one,
tests them on other trays, and writes five files. About 15 minutes on two cores.
"""

from __future__ import annotations

import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from ulsad import Ulsad
from ulsad.attention import stages, variants
from ulsad.demo.dataset import write_demo
from ulsad.detector.fitting import Progress, Watch
from ulsad.evaluation.evaluation import MAPS, evaluate
from ulsad.evaluation.evaluation import subsets as subsets_of
from ulsad.evaluation.metrics import auroc
from ulsad.photos.datasets import LOGICAL, STRUCTURAL, Category, find_categories

SEED, TEST_SEED = 1, 0  # the demo model's own trays; others


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        trays, others = Path(scratch) / "trays", Path(scratch) / "others"
        write_demo(trays, SEED, train=240)
        write_demo(others, TEST_SEED, train=1)
        good, test = trays / "train" / "good", find_categories(others)[0]
        for variant in variants.VARIANTS[1:]:
            finish(Ulsad.fit(good, variant.config), variant, test, folder)
        reached, losses = grown(good)
        stages.write(folder / "stages.safetensors", reached, losses)
        finish(reached[-1], variants.WHOLE, test, folder)


def finish(detector: Ulsad, variant: variants.Variant, test: Category, folder: Path) -> None:
    found = image_auroc(detector, test)
    variants.with_found(detector, found).save(variant.file(folder))
    print(variant.name, found, flush=True)


def image_auroc(detector: Ulsad, test: Category) -> variants.Found:
    evaluation = evaluate(detector, test.test)
    subsets = subsets_of(evaluation.photos)
    return {group: [round(100 * auroc(evaluation.scores_of(name)[subsets[group]],
                                      evaluation.labels[subsets[group]]), 1) for name in MAPS]
            for group in (LOGICAL, STRUCTURAL)}


def grown(good: Path) -> tuple[list[Ulsad], np.ndarray]:
    """The model at each of `stages.STEPS`, every one trained on from the one before, and all losses."""
    losses: list[tuple[float, float, float]] = []

    def note(progress: Progress) -> None:
        if step := progress.step:
            losses.append((step.local, step.attention, step.local_global))

    watch: Watch[Ulsad] = Watch(on_progress=note)
    reached = [Ulsad.fit(good, replace(variants.SMALL, steps=stages.STEPS[0]), watch=watch)]
    for steps in stages.STEPS[1:]:
        reached.append(Ulsad.fit(good, watch=watch, resume=planned(reached[-1], steps)))
    return reached, np.array(losses).T


def planned(detector: Ulsad, steps: int) -> Ulsad:
    """The same checkpoint, of a training that goes on to so many steps."""
    branches = replace(detector.branches, config=replace(detector.config, steps=steps))
    return Ulsad(branches, detector.calibration, detector.held_out, detector.references, detector.record,
                 optimiser=detector.optimiser)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
