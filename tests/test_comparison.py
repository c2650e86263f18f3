"""Our own methods beside others."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from conftest import BRIEF
from sklearn.metrics import roc_auc_score

from ulsad import InputError
from ulsad.evaluation.baselines import Outcome
from ulsad.evaluation.comparison import OWN, _run_own, check_methods, comparison_tables, run_method
from ulsad.evaluation.metrics import aupro
from ulsad.evaluation.nearest import NearestNeighbours
from ulsad.evaluation.trials import TrialStore, run_trial
from ulsad.photos.datasets import find_categories, read_mask


@pytest.fixture(scope="module")
def category(demo_set):
    return find_categories(demo_set)[0]


@pytest.fixture(scope="module")
def dfr(category):
    """As it runs in a process of its own, but without the start of one."""
    return _run_own("dfr", category, replace(BRIEF, **OWN["dfr"]), None, None)


@pytest.fixture(scope="module")
def ulsad(category):
    return _run_own("ulsad", category, BRIEF, None, None)


@pytest.mark.slow
def test_ulsad_is_the_same_as_in_a_trial(ulsad, category, tmp_path):
    trial = run_trial(TrialStore(tmp_path), category, BRIEF)
    labels = [not photo.is_good for photo in category.test]
    assert roc_auc_score(labels, ulsad.scores) == pytest.approx(
        trial["maps"]["combined"]["auroc"]["all"], abs=1e-9)


@pytest.mark.slow
def test_dfr_is_the_local_branch_alone_without_directions(dfr, category, tmp_path):
    alone = replace(BRIEF, global_target="none", lambda_l=0.0, local_metric="plain", relative_maps=False,
                    nearest_patches=0)
    trial = run_trial(TrialStore(tmp_path), category, alone)
    labels = [not photo.is_good for photo in category.test]
    assert roc_auc_score(labels, dfr.scores) == pytest.approx(
        trial["maps"]["local"]["auroc"]["all"], abs=1e-9)


def test_nearest_is_the_bank_of_the_same_split(category):
    outcome = _run_own("nearest", category, BRIEF, None, None)
    bank = NearestNeighbours.fit(category.train, BRIEF, category.held_out)
    scores, maps = bank.score([photo.path for photo in category.test])
    np.testing.assert_allclose(outcome.scores, scores, rtol=1e-5)
    np.testing.assert_allclose(outcome.maps, maps, rtol=1e-4, atol=1e-5)


def test_the_table_of_several_seeds_gives_mean_and_deviation(ulsad, category):
    first = ulsad
    other = replace(first, scores=first.scores[::-1].copy())
    labels = np.array([not photo.is_good for photo in category.test])
    values = [100 * roc_auc_score(labels, one.scores) for one in (first, other)]
    table = comparison_tables(category, [[first, other]])[0]
    row = dict(zip(table.columns, table.rows[0], strict=True))
    assert row["image AUROC"] == pytest.approx((np.mean(values), np.std(values, ddof=1)))
    logical = np.array([photo.group != "structural" for photo in category.test])
    values = [100 * roc_auc_score(labels[logical], one.scores[logical]) for one in (first, other)]
    assert row["logical"] == pytest.approx((np.mean(values), np.std(values, ddof=1)))


def test_kinds_of_defects_have_their_own_area_and_overlap(ulsad, category):
    broken = Outcome("draem", "its own", None, None, math.nan, math.nan, "needs textures")
    table = comparison_tables(category, [[ulsad], [broken]])[1]
    rows = {row[0]: dict(zip(table.columns, row, strict=True)) for row in table.rows}
    assert set(rows) == {"all", "logical", "structural"}
    kept = [i for i, photo in enumerate(category.test) if photo.is_good or photo.group == "structural"]
    labels = [not category.test[i].is_good for i in kept]
    assert rows["structural"]["AUROC ulsad"] == pytest.approx(100 * roc_auc_score(labels, ulsad.scores[kept]))
    masks = np.array([read_mask(category.test[i].masks, 256) for i in kept])
    assert rows["structural"]["AUPRO ulsad"] == pytest.approx(100 * aupro(ulsad.maps[kept], masks))
    assert "AUROC draem" not in table.columns and rows["structural"]["photos"] == sum(labels)


@pytest.mark.slow
def test_the_table_says_what_could_not_run(ulsad, dfr, category):
    broken = Outcome("draem", "its own", None, None, math.nan, math.nan, "needs textures")
    table = comparison_tables(category, [[ulsad], [dfr], [broken]])[0]
    rows = [dict(zip(table.columns, row)) for row in table.rows]
    assert [row["method"] for row in rows] == ["ulsad", "dfr", "draem"]
    assert [row["seconds"] for row in rows[:2]] == [round(outcome.seconds) for outcome in (ulsad, dfr)]
    assert all(outcome.seconds > 0 and row["MB"] > 200 for outcome, row in zip((ulsad, dfr), rows))
    assert rows[2]["seconds"] is None and rows[2]["note"] == "needs textures"
    partly = comparison_tables(category, [[broken, ulsad]])[0]
    assert dict(zip(partly.columns, partly.rows[0], strict=True))["note"] == "needs textures"
    assert np.isnan(rows[2]["image AUROC"]) and "needs textures" in table.markdown()


@pytest.mark.slow
def test_unreadable_test_photos_are_a_note_and_no_crash(category, tmp_path):
    (tmp_path / "x.png").write_text("no")
    broken = replace(category, test=(*category.test, replace(category.test[0], path=tmp_path / "x.png")))
    outcome = run_method("dfr", broken, BRIEF, None, None, 1.0)
    assert outcome.scores is None and "x.png" in outcome.note


def test_unknown_methods_are_refused_before_anything_runs():
    check_methods(["ulsad", "dfr", "nearest"])
    with pytest.raises(InputError, match="patchwork"):
        check_methods(["dfr", "patchwork"])
