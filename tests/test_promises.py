"""Thresholds against test photos, and defects hidden among the good photos."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from conftest import BRIEF

from ulsad import InputError
from ulsad.__main__ import main
from ulsad.detector.criterion import clopper_pearson, threshold_at
from ulsad.evaluation import promises
from ulsad.evaluation.trials import TrialStore
from ulsad.photos.datasets import find_categories
from ulsad.photos.images import digest, read_square


@pytest.fixture(scope="module")
def category(demo_set):
    found, = find_categories(demo_set)
    return found


def test_photos_are_drawn_with_the_seed_and_defects_take_the_place_of_some(category, tmp_path):
    nine = promises.cut(category, 9, seed=0)
    assert len(set(nine.train)) == 9 and set(nine.train) < set(category.train) and nine.held_out == ()
    assert nine == promises.cut(category, 9, seed=0) != promises.cut(category, 9, seed=1)
    for _ in range(2):  # the second time they are there already
        mixed, bad = promises.planted(category, 9, 0, 2, tmp_path)
    assert len(mixed.train) == 9 and mixed.train[7:] == bad and set(mixed.train[:7]) < set(category.train)
    defects = [photo.path.read_bytes() for photo in category.test if not photo.is_good]
    assert all(path.read_bytes() in defects and path.parent == tmp_path for path in bad)
    with pytest.raises(InputError, match="only 12 photos to draw 13 from"):
        promises.cut(category, 13, seed=0)


def test_a_promise_is_kept_if_no_more_good_photos_are_rejected_than_shown():
    held_out = {str(i): score for i, score in enumerate(np.linspace(0, 1, 19))}
    threshold = threshold_at(np.linspace(0, 1, 19), 0.1)  # the second highest: one lies above
    scores = promises.Scores(held_out, (0.2, 0.3, 1.5, 0.4), (0.1, threshold, 0.99),
                             (0.5, 2.0, 3.0, threshold), 12.0)
    shown = clopper_pearson(1, 19).high  # 26 %
    assert promises.kept(scores, 0.1) == promises.Kept(shown, 0.25, 1 / 3, 0.5)
    nothing_left = dataclasses.replace(scores, left_over=())
    row = promises.promise_row("set", 19, 0.1, [scores, scores, nothing_left])
    assert row[:3] == ("set", 19, "10%") and row[3].mean == pytest.approx(100 * shown)
    assert (row[4].mean, row[5]) == (25, "2 of 2")
    assert (row[6].mean, row[7]) == (pytest.approx(100 / 3), "0 of 3")
    assert promises.promise_row("set", 19, 0.1, [nothing_left])[4:6] == ("–", "–")


def test_ranks_of_photos_by_their_score(category):
    paths = [photo.path for photo in category.test][:4]
    names = [digest(read_square(path, 256).pixels) for path in paths]
    scores = promises.Scores({names[2]: 3.0, names[0]: 1.0, "other": 2.0}, (), (), (), 0.0)
    assert promises.ranks(scores, paths[:1], BRIEF) == [3]
    assert promises.ranks(scores, [paths[0], paths[2]], BRIEF) == [1, 3]
    assert promises.ranks(scores, [paths[3]], BRIEF) == []
    row = promises.planted_row("set", 9, 2, [[1, 3], [2, 4], [1]])
    assert row == ("set", 9, 2, "1, 3; 2, 4; 1, –", "1 of 3")


@pytest.mark.slow
def test_trials_are_real_and_not_run_twice(category, tmp_path):
    store = TrialStore(tmp_path)
    config = dataclasses.replace(BRIEF, folds=3)
    nine = promises.cut(category, 9, seed=0)
    left_over = promises.left_over(category, nine, 0)
    assert set(left_over) == {*category.train, *category.held_out} - set(nine.train)
    first = promises.trial(store, nine, config, left_over)
    assert len(first.held_out) == 9 and len(first.left_over) == len(left_over)
    assert [len(first.good), len(first.defects)] == [
        sum(photo.is_good is is_good for photo in category.test) for is_good in (True, False)]
    again = promises.trial(dataclasses.replace(store, on_trial=pytest.fail), nine, config, left_over)
    assert again.held_out == first.held_out and list(again.good) == list(first.good)


@pytest.mark.slow
def test_the_command_writes_both_tables(demo_set, tmp_path, capsys):
    settings = ["--photos", "9,40", "--out", str(tmp_path), "--set", "frn_width=32", "autoencoder_width=16",
                "augmented_photos=0", "steps=3"]
    assert main(["promises", str(demo_set), *settings]) == 0
    out = capsys.readouterr()
    assert "| 9 | 5% |" in out.out and "has only 12 good photos, not 40" in out.err
    assert main(["promises", str(demo_set), *settings, "--planted", "1"]) == 0
    assert "| tray | 9 | 1 |" in (tmp_path / "planted.md").read_text(encoding="utf-8")
    assert main(["promises", str(demo_set), "--photos", "many", "--out", str(tmp_path / "no")]) == 2
    assert not (tmp_path / "no").exists()
