"""Cross-fitting: every good photo is held out once, and judged only by what does not know it."""

from __future__ import annotations

import dataclasses
from itertools import islice

import numpy as np
import pytest
import torch
from conftest import TINY
from made_up import made_up_training

from ulsad import Config, Ulsad
from ulsad.detector.photo_sets import FEW, folds_of
from ulsad.detector.preparation import preparing
from ulsad.method.augmentation import with_copies
from ulsad.method.bank import Bank
from ulsad.method.training import Training
from ulsad.method.turns import Turns
from ulsad.photos.images import find_images, read_squares

CROSSED = dataclasses.replace(TINY, folds=3)


@pytest.fixture(scope="module")
def crossed(good_photos) -> Ulsad:
    return Ulsad.fit(good_photos, CROSSED)


@pytest.mark.parametrize(("photos", "folds"), [(12, 3), (19, 3), (FEW, 5), (8, 2)])
def test_folds_are_as_large_as_each_other_and_seeded(photos, folds):
    config = dataclasses.replace(CROSSED, folds=folds)
    found = folds_of(photos, config)
    assert len(found) == photos and set(found.tolist()) == set(range(folds))
    sizes = found.bincount()
    assert sizes.max() - sizes.min() <= 1
    assert torch.equal(found, folds_of(photos, config))
    assert not torch.equal(found, folds_of(photos, dataclasses.replace(config, seed=1)))


def test_many_photos_and_a_single_fold_are_not_cross_fitted():
    assert folds_of(FEW + 1, CROSSED) is None and folds_of(20, TINY) is None


def test_no_network_is_trained_on_its_own_fold_nor_on_copies_of_it(good_photos):
    config = dataclasses.replace(CROSSED, augmented_photos=24, batch_size=3)
    with preparing(good_photos, None, config, None, "cpu") as prepared:
        data, folds = prepared.data, prepared.branches.folds
        assert len(data.images) == 24 and len(prepared.branches.members) == 3
        np.testing.assert_array_equal(data.images, with_copies(prepared.good.images, config))
        weights = [member.networks.frn[0].weight for member in prepared.branches.members]
        assert not torch.equal(weights[0], weights[1])
        for member in range(3):
            rows = prepared.rows_of(member)
            assert rows.tolist() == [row for row in range(24) if folds[row % 12] != member]
            training = Training(prepared.branches.members[member].networks, data, config,
                                prepared.branches.extractor.normalise, photos=rows)
            drawn = torch.cat(list(islice(training._batches(), 2 * len(rows))))
            assert set(drawn.tolist()) == set(rows.tolist())


def test_the_map_of_a_good_photo_comes_from_what_does_not_know_it(crossed, good_photos):
    """By hand: ψ and φ of the member without its fold, and the patches of the other photos."""
    branches = crossed.branches
    squares = read_squares(find_images(good_photos), 256)[1]
    assert crossed.record["train"] == crossed.record["held_out"] == [
        path.name for path in find_images(good_photos)]
    for i, square in enumerate(squares):
        member, bank = branches.members[branches.folds[i]], branches.bank
        others = Bank(bank.patches[bank.photo != i], bank.spread, bank.expected)
        with torch.no_grad():
            image = branches.extractor.normalise(square[None])
            features = (branches.extractor(image) - branches.mean) / branches.std
            local, whole = member.distances(features, member.networks.eval()(image, features))
            local = (local + others.distances(features)) / 2
        np.testing.assert_allclose(crossed.held_out[i], torch.cat([local, whole]), rtol=1e-4, atol=1e-6)


def test_other_photos_are_judged_by_all_members(crossed, demo_set):
    photo = find_images(demo_set / "test/good")[0]
    branches = crossed.branches
    apart = [dataclasses.replace(branches, members=(member,)).analyse(read_squares([photo], 256)[1])
             for member in branches.members]
    np.testing.assert_allclose(crossed.predict(photo).distances,
                               np.mean([one.distances[0] for one in apart], axis=0), rtol=1e-5)
    assert not np.array_equal(apart[0].distances, apart[1].distances)


def test_a_loaded_model_judges_its_own_photos_as_at_calibration(crossed, good_photos, demo_set, tmp_path):
    crossed.save(tmp_path / "m.safetensors")
    again = Ulsad.load(tmp_path / "m.safetensors")
    other, *photos = find_images(demo_set / "test/good")[0], *find_images(good_photos)
    scores = again.calibration.held_out_scores(TINY.alpha, TINY.beta)[:, 0]
    predictions = list(again.predict_many([other, *photos]))
    np.testing.assert_allclose([one.score for one in predictions[1:]], scores, rtol=1e-4, atol=1e-5)
    # Not bit by bit: one thread and several sum in another order.
    np.testing.assert_allclose(predictions[0].distances, crossed.predict(other).distances, rtol=1e-5,
                               atol=1e-6)
    assert [again.seen_in(one) for one in predictions] == ["", *["held-out"] * len(photos)]
    recalibrated = again.recalibrated(good_photos)  # the same photos give the same quantiles
    np.testing.assert_allclose(recalibrated.calibration.local.values, again.calibration.local.values,
                               rtol=1e-4, atol=1e-5)


def test_known_features_give_what_the_backbone_gives(good_photos):
    with preparing(good_photos, None, CROSSED, None, "cpu") as prepared:
        images, features = prepared.good.images, prepared.features
        plain, known = (prepared.branches.fitted(images, features=of) for of in (None, features))
        for a, b in zip(plain.members, known.members, strict=True):
            torch.testing.assert_close(a.whitening, b.whitening, rtol=1e-3, atol=1e-4)
        maps = [plain.analyse(images, prepared.made_from, of).distances for of in (None, features)]
        np.testing.assert_allclose(*maps, rtol=1e-3, atol=1e-4)
        wrong = plain.analyse(images, prepared.made_from, features.flip(0)).distances
        assert not np.allclose(maps[0], wrong, rtol=1e-2)


def test_held_out_photos_that_are_given_leave_one_network(good_photos, demo_set):
    detector = Ulsad.fit(good_photos, dataclasses.replace(CROSSED, steps=1), demo_set / "validation/good")
    assert len(detector.branches.members) == 1 and detector.record["folds"] == 1
    assert len(detector.record["held_out"]) == 2


def test_trainings_take_turns_until_all_planned_steps_are_done():
    trainings = [made_up_training("cpu", dataclasses.replace(TINY, steps=7)) for _ in range(3)]
    turns = Turns(trainings)
    steps = list(turns)
    assert [step.step for step in steps] == list(range(1, 8)) and {step.steps for step in steps} == {7}
    assert [training.done for training in trainings] == [3, 2, 2]
    turns.planned = 10
    assert [step.steps for step in turns] == [10] * 3
    assert [training.done for training in trainings] == [4, 3, 3] and list(turns) == []


@pytest.mark.parametrize("threads", [1, 2, 4])  # one core for each step, or all for one after the other
def test_each_training_goes_as_it_would_alone(threads):
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        turns, alone = (Turns([made_up_training("cpu", dataclasses.replace(TINY, steps=9, seed=seed))
                               for seed in seeds]) for seeds in ((0, 1, 2), (1,)))
        turns.planned, alone.planned = 9, 3
        both = turns.trainings[1], alone.trainings[0]
        steps, of_one = list(turns), list(alone)
    finally:
        torch.set_num_threads(before)
    assert [step.step for step in steps] == list(range(1, 10))
    assert [step.local for step in steps[1::3]] == pytest.approx([step.local for step in of_one], rel=1e-3)
    for a, b in zip(*(training.networks.state_dict().values() for training in both), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-2, atol=1e-3)


def test_whoever_leaves_trainings_in_between_finds_all_equally_far():
    trainings = [made_up_training("cpu", dataclasses.replace(TINY, steps=30)) for _ in range(3)]
    turns = Turns(trainings)
    for done in (1, 10, 17):
        next(step for step in turns if step.step >= done)
        assert turns.done >= done and len({training.done for training in trainings}) <= 2
        assert max(training.done for training in trainings) - min(training.done for training in trainings) < 2
    assert list(turns)[-1].step == 30 and turns.done == 30


def test_with_epochs_each_network_has_its_own():
    config = dataclasses.replace(TINY, steps=None, epochs=2)
    assert Turns([made_up_training("cpu", config) for _ in range(3)]).planned == 3 * 5  # 10 photos, 4 at once


def test_the_paper_has_one_network_and_quick_has_three():
    from ulsad.method.config import PRESETS

    assert (Config().folds, PRESETS["thorough"].folds, PRESETS["paper"].folds) == (3, 3, 1)
    old = Config.from_json('{"steps": 5}')
    assert old.folds == 1
