"""What a trained detector came to, against scikit-learn, scipy and the detector's own maps."""

import dataclasses
import math

import numpy as np
import pytest
from scipy.stats import beta
from sklearn.metrics import roc_auc_score

from ulsad import InputError
from ulsad.detector.criterion import Criterion
from ulsad.method.calibration import Combination
from ulsad.photos.datasets import GOOD, LabelledPhoto, find_categories
from ulsad.photos.images import find_images
from ulsad.runs.outcome import Outcome, Scores, judge
from ulsad.runs.outcome import Tested as Photo


@pytest.fixture(scope="module")
def photos(demo_set, tmp_path_factory) -> list[LabelledPhoto]:
    broken = tmp_path_factory.mktemp("broken") / "torn.png"
    broken.write_text("not a photo")
    return [*find_categories(demo_set)[0].test, LabelledPhoto(broken, "torn")]


@pytest.fixture(scope="module")
def outcome(detector, photos) -> Outcome:
    return judge(detector, photos)


def made_up(good: int, defects: int, seed: int = 0) -> Outcome:
    rng = np.random.default_rng(seed)
    criterion = Criterion(0.9, 0.995, Combination(), review=1.0, fail=1.5, local=1.0, global_=1.0)
    tested = [Photo(f"{i}.png", GOOD, None, "", Scores(*rng.normal(0, 1, 3))) for i in range(good)]
    tested += [Photo(f"{i}.png", "dent" if i % 3 else "scratch", "structural", "",
                      Scores(*rng.normal(1, 1, 3))) for i in range(defects)]
    return Outcome(criterion, tuple(Scores(*row) for row in rng.normal(0, 1, (20, 3))), tuple(tested))


def test_held_out_scores_are_those_of_the_calibration(detector, outcome):
    expected = detector.calibration.held_out_scores(detector.config.alpha, detector.config.beta)
    np.testing.assert_array_equal(np.array(outcome.held_out), expected)


def test_test_photos_are_scored_as_their_maps_are(detector, photos, outcome):
    assert [photo.name for photo in outcome.tested] == [photo.path.name for photo in photos[:-1]]
    for photo, tested in zip(photos[::3], outcome.tested[::3], strict=False):
        maps = detector.predict(photo.path).maps()
        assert tested.scores == pytest.approx((maps.score, maps.local_score, maps.global_score), abs=1e-5)
        assert (tested.kind, tested.group, tested.seen_in) == (photo.kind, photo.group, "")
    assert len(outcome.skipped) == 1 and "torn.png" in outcome.skipped[0]


def test_auroc_is_that_of_scikit_learn(outcome):
    good = [photo.scores for photo in outcome.tested if photo.kind == "good"]
    bad = [photo.scores for photo in outcome.tested if photo.kind != "good"]
    labels = [0] * len(good) + [1] * len(bad)
    assert (len(good), len(bad)) == (3, 7) and not outcome.is_against_held_out
    for i, name in enumerate(("combined", "local", "global")):
        expected = roc_auc_score(labels, [scores[i] for scores in good + bad])
        assert outcome.aurocs[name].value == pytest.approx(expected)
        low, high = outcome.aurocs[name].interval
        assert 0 <= low <= expected <= high <= 1


def test_without_good_test_photos_defects_are_held_against_held_out_ones():
    whole = made_up(30, 40)
    defects = dataclasses.replace(whole, tested=tuple(p for p in whole.tested if p.kind != GOOD))
    assert defects.is_against_held_out
    labels = [0] * 20 + [1] * 40
    expected = roc_auc_score(labels, [one.combined for one in (*whole.held_out, *whole.defects)])
    assert defects.aurocs["combined"].value == pytest.approx(expected)
    assert defects.aurocs["combined"].value != whole.aurocs["combined"].value


def test_the_interval_is_as_wide_as_that_of_hanley_and_mcneil():
    area, (low, high) = made_up(200, 300).aurocs["combined"]
    q1, q2 = area / (2 - area), 2 * area**2 / (1 + area)
    variance = (area * (1 - area) + 299 * (q1 - area**2) + 199 * (q2 - area**2)) / (200 * 300)
    assert high - low == pytest.approx(2 * 1.96 * math.sqrt(variance), rel=0.15)


def test_shares_above_a_threshold_are_counted_by_kind():
    outcome = made_up(30, 40)
    of_kind = {kind: [photo.scores.combined for photo in outcome.tested if photo.kind == kind]
               for kind in ("good", "dent", "scratch")}
    assert outcome.kinds == ["dent", "scratch"]
    for kind, scores in of_kind.items():
        assert outcome.above(1.5, kind) == (sum(score > 1.5 for score in scores), len(scores))
    count, of = outcome.above(1.0)
    assert (count, of) == tuple(np.add(outcome.above(1.0, "dent"), outcome.above(1.0, "scratch")))
    assert outcome.above(1.0).interval == pytest.approx(
        (beta.ppf(0.025, count, of - count + 1), beta.ppf(0.975, count + 1, of - count)))


def test_test_photos_never_move_the_criterion(detector, photos, outcome):
    alone = judge(detector)
    assert alone.criterion == outcome.criterion == judge(detector, photos[3:5]).criterion
    assert alone.criterion == Criterion.suggested(detector.calibration, 0.9, 0.995)
    assert alone.held_out == outcome.held_out
    assert (alone.tested, alone.aurocs, alone.kinds, alone.above(0.0)) == ((), {}, [], (0, 0))


def test_photos_that_the_model_was_made_with_are_known(detector, good_photos):
    [tested] = judge(detector, [LabelledPhoto(find_images(good_photos)[0], GOOD)]).tested
    assert tested.seen_in in ("training", "held-out")


def test_progress_counts_every_photo(detector, photos):
    done = []
    judge(detector, photos[-3:], lambda *counts: done.append(counts))
    assert done == [(1, 3), (2, 3), (3, 3)]


def test_it_survives_a_file(outcome, tmp_path):
    file = tmp_path / "outcome.json"
    odd = outcome.tested[0]._replace(name="caf\udce9 📷.png")
    outcome = dataclasses.replace(outcome, tested=(odd, *outcome.tested[1:]))
    outcome.write(file)
    assert Outcome.read(file) == outcome
    assert list(tmp_path.iterdir()) == [file]


def test_a_model_without_global_branch_survives_a_file(local_detector, photos, tmp_path):
    local = judge(local_detector, photos[:6])
    file = tmp_path / "outcome.json"
    local.write(file)
    assert "null" in file.read_text() and "NaN" not in file.read_text()
    again = Outcome.read(file)
    assert str(again) == str(local)  # NaN is not equal to itself
    assert math.isnan(again.tested[0].scores.global_) and math.isnan(again.criterion.global_)
    assert set(again.aurocs) == {"combined", "local"}


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"criterion": 3}', '{"held_out": [[1, 2]]}'])
def test_a_damaged_file_is_named(text, tmp_path):
    file = tmp_path / "outcome.json"
    file.write_text(text)
    with pytest.raises(InputError, match=r"outcome\.json is damaged"):
        Outcome.read(file)


def test_a_file_that_is_not_there_or_can_not_be_written_is_named(outcome, tmp_path):
    with pytest.raises(InputError, match="can't be read"):
        Outcome.read(tmp_path / "none.json")
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match="could not be written"):
        outcome.write(tmp_path / "file" / "outcome.json")
