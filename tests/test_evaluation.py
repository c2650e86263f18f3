"""Labelled photos through a detector, and trials that keep their results."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import replace

import numpy as np
import pytest
from conftest import BRIEF, TINY, shared
from sklearn.metrics import roc_auc_score

from ulsad import Config, InputError, Ulsad
from ulsad.detector import spreadsheet
from ulsad.detector.criterion import threshold_at
from ulsad.evaluation import metrics
from ulsad.evaluation.ablation import STUDIES, alpha_beta_grid
from ulsad.evaluation.evaluation import Evaluation, evaluate, subsets, summarise
from ulsad.evaluation.nearest import NearestNeighbours
from ulsad.evaluation.paper_tables import evaluation_table, kinds_table, run_seeds
from ulsad.evaluation.trials import MODEL, TrialStore, held_out_photos, run_trial, trained, trial_folder
from ulsad.photos.datasets import Category, LabelledPhoto, find_categories, read_mask

OPENED: list[str] = []
sys.addaudithook(lambda event, values: OPENED.append(str(values[0])) if event == "open" else None)


@pytest.fixture(scope="module")
def category(demo_set) -> Category:
    return find_categories(demo_set)[0]


@pytest.fixture(scope="module")
def evaluation(detector, category) -> Evaluation:
    return evaluate(detector, category.test)


def test_the_demo_is_a_loco_set(category):
    assert category.layout == "MVTec LOCO" and len(category.held_out) == 2
    assert {photo.group for photo in category.test} == {None, "logical", "structural"}
    assert all(photo.masks for photo in category.test if not photo.is_good)


def test_scores_are_those_of_predict_at_any_alpha_and_beta(evaluation, detector, category):
    for alpha, beta in ((None, None), (0.6, 0.97)):
        scores = evaluation.scores(alpha, beta)
        for photo, row in zip(category.test, scores, strict=True):
            maps = detector.predict(photo.path).maps(alpha, beta)
            # photos in a batch differ from single ones in the last bits
            assert row == pytest.approx((maps.score, maps.local_score, maps.global_score), rel=1e-4)


def test_combined_maps_follow_alpha_and_beta(evaluation):
    maps = evaluation.maps("combined", 0.7, 0.98)
    np.testing.assert_allclose(maps.max(axis=(1, 2)), evaluation.scores(0.7, 0.98)[:, 0], rtol=1e-5)


def test_summary_against_scikit_learn(evaluation, detector):
    summary = json.loads(json.dumps(summarise(evaluation)))
    labels, scores = evaluation.labels, evaluation.scores()
    for i, name in enumerate(("combined", "local", "global")):
        of = summary["maps"][name]
        assert of["auroc"]["all"] == pytest.approx(roc_auc_score(labels, scores[:, i]), abs=1e-9)
        logical = [k for k, photo in enumerate(evaluation.photos) if photo.group != "structural"]
        assert of["auroc"]["logical"] == pytest.approx(
            roc_auc_score(labels[logical], scores[logical, i]), abs=1e-9)
        threshold = of["operating_point"]["threshold"]
        held_out = detector.calibration.held_out_scores(detector.config.alpha, detector.config.beta)[:, i]
        assert threshold == threshold_at(held_out, 0.05)
        assert of["operating_point"]["true_rejects"] == (scores[labels, i] > threshold).sum()
    masks = np.array([read_mask(photo.masks, 256) for photo in evaluation.photos])
    assert summary["maps"]["local"]["pixel_auroc"] == pytest.approx(
        roc_auc_score(masks.ravel(), evaluation.raw_local.ravel()), abs=1e-9)


def test_kinds_are_held_against_all_good_photos(evaluation):
    chosen = subsets(evaluation.photos)
    assert set(chosen) == {"all", "logical", "structural"}  # LOCO's two kinds are the groups
    named = [replace(photo, kind="dent") if i == 3 else photo for i, photo in enumerate(evaluation.photos)]
    assert set(subsets(named)) == {"all", "logical", "structural", "dent", named[4].kind}
    assert set(subsets([replace(photo, group=None, kind=photo.kind if photo.is_good else "dent")
                        for photo in evaluation.photos])) == {"all"}  # one kind alone is all of them
    for name, mask in chosen.items():
        assert mask[~evaluation.labels].all() and (mask & evaluation.labels).any(), name


def test_the_overlap_of_a_kind_is_that_of_its_photos_and_the_good_ones(evaluation):
    found = evaluation.pixel_metrics("local").aupro_of
    for name, kept in subsets(evaluation.photos).items():
        kept = kept[evaluation.marked]
        assert found[name] == pytest.approx(
            metrics.aupro(evaluation.raw_local[evaluation.marked][kept], evaluation.masks[kept]), abs=1e-12)


def test_a_search_for_the_nearest_patches_stands_beside_the_maps(detector, evaluation):
    search = NearestNeighbours.of(detector)
    both = evaluation.beside(search.score_each([photo.path for photo in evaluation.photos]))
    scores, maps = search.score([photo.path for photo in evaluation.photos])
    assert both.names == ("combined", "local", "global", "nearest") and evaluation.names == both.names[:3]
    summary = summarise(both)
    assert summary["maps"]["local"] == summarise(evaluation)["maps"]["local"]
    found = summary["maps"]["nearest"]
    assert found["auroc"]["all"] == pytest.approx(metrics.auroc(scores, evaluation.labels))
    assert found["aupro"] == pytest.approx(metrics.aupro(maps[both.marked], both.masks))
    table = evaluation_table({"tray": [summary]}, "")
    row = dict(zip(table.columns, table.rows[3], strict=True))
    assert row["map"] == "nearest" and np.isnan(row["detected"])
    assert "AUROC nearest" in kinds_table({"tray": [summary]}).columns


def test_photos_without_masks_are_in_no_pixel_metric(detector, category):
    bare = [replace(photo, masks=()) for photo in category.test]
    assert evaluate(detector, bare).pixel_metrics("local") is None
    marked = evaluate(detector, [*bare[:4], category.test[4]])
    assert len(marked.masks) == len(marked.marked) < 5


def test_an_unreadable_test_photo_is_listed_and_left_out(detector, category, tmp_path):
    (tmp_path / "broken.png").write_text("no")
    result = evaluate(detector, [*category.test, LabelledPhoto(tmp_path / "broken.png", "dent")])
    assert len(result.photos) == len(category.test) and "broken.png" in result.skipped[0].reason
    assert summarise(result)["skipped"] == [result.skipped[0].reason]


def test_a_detector_without_a_global_branch(category, local_detector):
    summary = summarise(evaluate(local_detector, category.test))
    assert set(summary["maps"]) == {"combined", "local"}
    assert summary["maps"]["combined"]["auroc"] == summary["maps"]["local"]["auroc"]


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> TrialStore:
    return TrialStore(tmp_path_factory.mktemp("trials"))


def test_no_test_photo_is_opened_before_evaluation(store, category):
    """Weights, quantiles and thresholds exist before the first byte of a test photo or mask is read."""
    sentinels = {str(path) for photo in category.test for path in (photo.path, *photo.masks)}
    OPENED.clear()
    detector = trained(store, category, TINY)
    seen = set(OPENED)
    assert str(category.train[0]) in seen and str(category.held_out[0]) in seen  # the hook sees photos
    assert not seen & sentinels
    OPENED.clear()
    summary = run_trial(store, category, TINY)
    assert sentinels <= set(OPENED)
    held_out = detector.calibration.held_out_scores(TINY.alpha, TINY.beta)[:, 0]
    assert summary["maps"]["combined"]["operating_point"]["threshold"] == threshold_at(held_out, 0.05)


@pytest.mark.slow
def test_other_test_photos_leave_model_and_threshold_as_they_are(category, tmp_path):
    """The same training photos with nonsense in place of the test photos: the same file, to the byte."""
    swapped = []
    for i, photo in enumerate(category.test):
        path = tmp_path / f"{i}.png"
        shutil.copy(category.test[-1 - i].path, path)
        swapped.append(replace(photo, path=path, masks=()))
    models = [trained(TrialStore(tmp_path / name), replace(category, test=tuple(test)), BRIEF)
              for name, test in (("a", category.test), ("b", swapped))]
    a, b = (model.branches.members[0].networks.state_dict() for model in models)
    assert all((a[name] == b[name]).all() for name in a)
    assert models[0].calibration.local.values.tolist() == models[1].calibration.local.values.tolist()


def test_a_trial_is_not_run_twice(store, category):
    first = run_trial(store, category, TINY)
    model = trial_folder(store.folder, category, TINY) / MODEL
    before = model.stat().st_mtime_ns
    OPENED.clear()
    assert run_trial(store, category, TINY) == first
    assert model.stat().st_mtime_ns == before and not any(path.endswith(".png") for path in OPENED)


def test_scores_of_a_trial_are_kept(store, category):
    run_trial(store, category, TINY)
    file, = trial_folder(store.folder, category, TINY).glob("scores-*.csv")
    head, *rows = spreadsheet.read(file)
    assert head == ["path", "kind", "score", "local_score", "global_score"]
    assert [row[0] for row in rows] == [photo.path.as_posix() for photo in category.test]


@pytest.mark.slow
def test_another_blur_needs_no_new_training_and_gives_the_same_as_one(store, category):
    blurred = replace(TINY, blur_sigma=4.0)
    assert trial_folder(store.folder, category, blurred) == trial_folder(store.folder, category, TINY)
    recalibrated = trained(store, category, blurred)
    anew = Ulsad.fit(category.train, blurred, category.held_out)
    np.testing.assert_array_equal(recalibrated.calibration.local.values, anew.calibration.local.values)
    photo = category.test[0].path
    np.testing.assert_array_equal(recalibrated.predict(photo).raw_local, anew.predict(photo).raw_local)


def test_held_out_photos_are_found_again(store, category):
    alone = replace(category, held_out=())
    detector = trained(store, alone, BRIEF)
    found = held_out_photos(alone, detector)
    assert [path.name for path in found] == detector.record["held_out"]
    with pytest.raises(InputError, match="can't be found"):
        held_out_photos(replace(alone, train=category.train[:1]), detector)


def test_recalibration_refuses_what_needs_training(detector, good_photos):
    with pytest.raises(InputError, match="frn_width"):
        detector.recalibrated(good_photos, frn_width=8)


@pytest.mark.slow
def test_seeds_and_tables(store, category):
    results = run_seeds(store, [category], BRIEF, 2)
    assert [trial["seed"] for trial in results[category.name]] == [0, 1]
    table = evaluation_table(results, category.layout)
    assert [row[1] for row in table.rows] == ["combined", "local", "global"]
    values = [100 * trial["maps"]["local"]["auroc"]["all"] for trial in results[category.name]]
    cell = table.rows[1][table.columns.index("image AUROC")]
    assert cell == pytest.approx((np.mean(values), np.std(values, ddof=1)))
    kinds = kinds_table(results)
    assert [row[1] for row in kinds.rows] == ["logical", "structural"]
    values = [100 * trial["maps"]["local"]["aupro_of"]["logical"] for trial in results[category.name]]
    cell = kinds.rows[0][kinds.columns.index("AUPRO local")]
    assert cell == pytest.approx((np.mean(values), np.std(values, ddof=1)))
    assert not any("nearest" in column for column in kinds.columns)


def test_the_papers_own_row_is_beside_a_category_it_has(store, category):
    results = {"pushpins": [run_trial(store, category, TINY)]}
    table = evaluation_table(results, "MVTec LOCO")
    assert table.rows[0][table.columns.index("paper: image AUROC")] == (86.85, 0.94)
    assert not any("paper" in name for name in evaluation_table(results, "MPDD").columns)


def test_means_over_categories(store, category):
    trial = run_trial(store, category, TINY)
    table = evaluation_table({"a": [trial], "b": [trial]}, "plain")
    mean = next(row for row in table.rows if row[:2] == ("mean", "combined"))
    expected = 100 * trial["maps"]["combined"]["auroc"]["all"]
    assert mean[table.columns.index("image AUROC")] == pytest.approx(expected)


def test_means_over_categories_of_models_without_a_global_branch(store, category):
    trial = run_trial(store, category, TINY)
    local = trial | {"maps": {name: of for name, of in trial["maps"].items() if name != "global"}}
    table = evaluation_table({"a": [local], "b": [local]}, "plain")
    assert [row[:2] for row in table.rows] == [(name, map_) for name in ("a", "b", "mean")
                                               for map_ in ("combined", "local")]


def test_every_study_changes_only_settings_there_are():
    for study in STUDIES.values():
        assert len({variant.name for variant in study.variants}) == len(study.variants)
        for variant in study.variants:
            replace(Config(), **variant.settings)


def test_the_alpha_beta_grid_is_the_auroc_at_each(evaluation):
    grid = alpha_beta_grid(evaluation, (0.5, 0.99), (0.9, 0.995))
    assert np.isnan(grid[1, 0])
    for row, alpha in enumerate((0.5, 0.99)):
        scores = evaluation.maps("combined", alpha, 0.995).max(axis=(1, 2))
        assert grid[row, 1] == pytest.approx(roc_auc_score(evaluation.labels, scores), abs=1e-9)


def test_the_photos_of_real_sets_are_told_apart():
    categories = {category.name: category for category in find_categories(shared("data"))}
    trained_on = {name: len(category.train) for name, category in categories.items()}
    assert trained_on.items() >= {"aliens": 38, "fourscrews": 19, "magnetic_tile": 240}.items()
    tiles = categories["magnetic_tile"]
    assert sum(bool(photo.masks) for photo in tiles.test) == 150
    assert not {photo.path for photo in tiles.test} & set(tiles.train)
