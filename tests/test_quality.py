"""The method finds what it is meant to find: planted logical and structural defects, told from good trays."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from ulsad import Config, Ulsad
from ulsad.demo.dataset import DEFECTS, LOGICAL, STRUCTURAL, render

DEMO_MODEL = Path(__file__).resolve().parents[1] / "assets" / "demo.safetensors"


@pytest.fixture(scope="module")
def trays() -> list[tuple[str | None, np.ndarray]]:
    """Photos that no model has seen: 16 good trays and 4 of each defect, with their defect's name."""
    rng = np.random.default_rng(20_000)
    names = [*[None] * 16, *[defect for defect in DEFECTS for _ in range(4)]]
    return [(name, np.asarray(render(rng, name).image)) for name in names]


def auroc(detector: Ulsad, trays, kind: str) -> float:
    chosen = [(name, photo) for name, photo in trays if name is None or DEFECTS[name] == kind]
    scores = [detector.predict(photo).score for _, photo in chosen]
    return float(roc_auc_score([name is not None for name, _ in chosen], scores))


@pytest.mark.slow
@pytest.mark.parametrize("kind", [LOGICAL, STRUCTURAL])
def test_the_shipped_demo_model_finds_both_kinds_of_defect(trays, kind):
    assert auroc(Ulsad.load(DEMO_MODEL), trays, kind) >= 0.95


def test_the_shipped_demo_model_is_small():
    assert DEMO_MODEL.stat().st_size <= 8e6


@pytest.fixture(scope="module")
def quick(tmp_path_factory) -> Ulsad:
    """Trained on 30 good trays with the default settings, but a sixth of the steps and no copies."""
    folder, rng = tmp_path_factory.mktemp("good"), np.random.default_rng(1)
    for i in range(30):
        render(rng).image.save(folder / f"{i}.jpg", quality=92)
    return Ulsad.fit(folder, Config(steps=50, augmented_photos=0))


@pytest.mark.slow
@pytest.mark.parametrize("kind", [LOGICAL, STRUCTURAL])
def test_the_default_settings_find_both_kinds_of_defect(quick, trays, kind):
    assert auroc(quick, trays, kind) >= 0.95
