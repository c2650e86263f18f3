"""The whole way: fit, predict, save, load, and what is told when something is wrong."""

from __future__ import annotations

import dataclasses
import shutil

import numpy as np
import pytest
import torch
from conftest import TINY, large_jpeg, shared
from PIL import Image
from safetensors.torch import save_file

from ulsad import Config, InputError, Skipped, TrainingDiverged, Ulsad, Watch
from ulsad.detector import fitting, model_file
from ulsad.detector.photo_sets import read_photos
from ulsad.detector.preparation import feature_statistics
from ulsad.photos.images import digest, find_images, read_squares


def tensors(detector):
    return {**detector.branches.members[0].networks.state_dict(), "mean": detector.branches.mean}


def test_prediction_has_maps_at_the_photos_own_size(detector, demo_set):
    photo = find_images(demo_set / "test/good")[0]
    prediction = detector.predict(photo)
    assert prediction.local_map.shape == prediction.global_map.shape == (480, 640)
    assert prediction.combined_map.shape == (480, 640)
    assert prediction.raw_local.min() >= 0 and prediction.raw_global.min() >= 0
    assert prediction.score == prediction.maps().combined.max()


def test_path_image_and_array_agree(detector, demo_set):
    photo = find_images(demo_set / "test/good")[0]
    image = Image.open(photo).convert("RGB")
    scores = {detector.predict(source).score for source in (photo, str(photo), image, np.asarray(image))}
    assert len(scores) == 1


def test_save_and_load_give_identical_maps_to_the_bit(detector, demo_set, tmp_path):
    detector.save(tmp_path / "m.safetensors")
    again = Ulsad.load(tmp_path / "m.safetensors")
    for photo in find_images(demo_set / "test"):
        before, after = detector.predict(photo), again.predict(photo)
        np.testing.assert_array_equal(before.raw_local, after.raw_local)
        np.testing.assert_array_equal(before.raw_global, after.raw_global)
        np.testing.assert_array_equal(before.combined_map, after.combined_map)
    assert again.config == detector.config and again.record == detector.record


@pytest.mark.slow
def test_same_seed_same_model_whether_or_not_there_are_checkpoints(detector, good_photos, monkeypatch):
    seen = []
    monkeypatch.setattr(fitting, "CHECKPOINT", 0.0)
    monkeypatch.setattr(fitting, "SHARE", 0)
    again = Ulsad.fit(good_photos, TINY, watch=Watch(
        on_checkpoint=lambda part: seen.append(part.record["steps"])))
    assert seen == list(range(1, 13))
    for name, value in tensors(detector).items():
        assert torch.equal(value, tensors(again)[name]), name
    np.testing.assert_array_equal(detector.calibration.local.values, again.calibration.local.values)
    other = Ulsad.fit(good_photos, dataclasses.replace(TINY, seed=1, steps=1))
    assert not torch.equal(tensors(other)["frn.0.weight"], tensors(detector)["frn.0.weight"])


@pytest.mark.slow
def test_losses_of_both_branches_fall(good_photos):
    steps = []
    Ulsad.fit(good_photos, dataclasses.replace(TINY, steps=40),
              watch=Watch(lambda progress: progress.step and steps.append(progress.step)))
    for name in ("local", "attention", "local_global"):
        first, last = (np.mean([getattr(step, name) for step in part]) for part in (steps[:5], steps[-5:]))
        assert last < 0.8 * first, name


@pytest.mark.slow
@pytest.mark.parametrize("changes", [
    {"global_target": "none", "lambda_l": 0.0, "feature_dim": 64},
    {"global_target": "features", "frn_output": "relu", "local_metric": "plain"},
    {"local_global_loss": False, "relative_maps": False, "combination": "mean", "global_weight": 1.0},
    {"lambda_l": 0.0, "lambda_g": 0.0, "precision": "bfloat16", "batch_size": 2},
    {"image_size": 288, "blur_sigma": 4.0, "augmented_photos": 20},
    {"local_metric": "plain", "relative_maps": False},
    {"expected_power": 1.0, "combination": "maximum"},
    {"nearest_patches": 0},
    {"nearest_patches": 500, "local_metric": "plain", "relative_maps": False}],
    ids=lambda changes: " ".join(changes))
def test_ablations_and_sizes_train_save_and_load(good_photos, tmp_path, changes):
    detector = Ulsad.fit(good_photos, dataclasses.replace(TINY, steps=2, **changes))
    detector.save(tmp_path / "m.safetensors")
    photo = find_images(good_photos)[0]
    prediction = Ulsad.load(tmp_path / "m.safetensors").predict(photo)
    assert prediction.score == detector.predict(photo).score
    assert (prediction.global_map is None) == (changes.get("global_target") == "none")


def test_held_out_photos_are_split_off_with_the_seed_or_given(detector, good_photos, demo_set):
    names = {path.name for path in find_images(good_photos)}
    train, held_out = set(detector.record["train"]), set(detector.record["held_out"])
    assert train | held_out == names and not train & held_out and len(held_out) == 2
    given = Ulsad.fit(good_photos, dataclasses.replace(TINY, steps=2),
                      held_out=demo_set / "validation/good")
    assert set(given.record["train"]) == names and len(given.record["held_out"]) == 2


def test_calibration_is_numpys_quantile_of_the_held_out_maps(detector, good_photos):
    maps = np.stack([detector.predict(good_photos / name).raw_global for name in detector.record["held_out"]])
    for level in (0.5, 0.9, 0.995):
        assert detector.calibration.global_(level) == pytest.approx(np.quantile(maps, level), rel=1e-3)


def test_every_way_reads_a_large_jpeg_alike(detector, tmp_path):
    """Else a training photo would not be known again."""
    file = large_jpeg(tmp_path / "large.jpg")
    seen = detector.square(file).pixels
    found = {digest(seen), detector.predict(file).digest, next(detector.predict_many([file])).digest,
             *read_photos([file], detector.config).digests,
             digest(read_squares([file], 256, at_least=detector.config.decoded_side)[1][0])}
    assert len(found) == 1 and detector.predict(file).size == (1540, 2100)
    before = dataclasses.replace(detector.config, reduced_jpegs=False)
    assert digest(read_squares([file], 256)[1][0]) == read_photos([file], before).digests[0] not in found
    assert Config.from_json("{}").reduced_jpegs is False  # as older models were trained


@pytest.mark.slow
def test_copies_are_trained_on_and_counted_and_never_held_out(good_photos):
    config = dataclasses.replace(TINY, steps=None, epochs=1, augmented_photos=33)
    detector = Ulsad.fit(good_photos, config)
    assert len(detector.record["train"]) == 10 and detector.record["copies"] == 20
    assert detector.record["steps"] == 4  # 30 photos in batches of 8
    assert len(detector.calibration.frontiers) == len(detector.record["held_out"]) == 2


def test_distances_of_training_photos_are_about_one(detector, good_photos):
    """ψ's are multiples of what is usual there, or have the peak of these; the global ones too."""
    squares = read_squares([good_photos / name for name in detector.record["train"]], 256)[1]
    alone = dataclasses.replace(detector.branches.members[0], spread=None)
    whole = dataclasses.replace(alone, config=dataclasses.replace(TINY, expected_power=1.0))
    found, relative = (
        dataclasses.replace(detector.branches, bank=None, members=(member,)).analyse(squares).distances
        for member in (alone, whole))
    assert relative.mean(axis=(0, 2, 3)) == pytest.approx([1, 1], abs=0.15)
    np.testing.assert_allclose(found.max(axis=(2, 3)), relative.max(axis=(2, 3)), rtol=1e-5)
    np.testing.assert_array_equal(found[:, 1], relative[:, 1])


def test_feature_statistics_are_numpys_and_never_zero():
    features = torch.randn(5, 3, 4, 4) * torch.tensor([1.0, 30, 0])[:, None, None] + 2
    mean, std = feature_statistics(features)
    np.testing.assert_allclose(mean.squeeze(), features.double().mean(dim=(0, 2, 3)), rtol=1e-6)
    expected = features.double().numpy().std(axis=(0, 2, 3))
    np.testing.assert_allclose(std.squeeze()[:2], expected[:2], rtol=1e-6)
    assert std.squeeze()[2] == 1


@pytest.mark.usefixtures("two_threads")
def test_broken_photos_are_skipped_with_reasons(good_photos, tmp_path):
    folder = shutil.copytree(good_photos, tmp_path / "photos")
    (folder / "text.png").write_text("not a photo")
    detector = Ulsad.fit(folder, dataclasses.replace(TINY, steps=2))
    assert len(detector.record["skipped"]) == 1 and "text.png" in detector.record["skipped"][0]
    results = list(detector.predict_many(find_images(folder)))
    assert [result.path.name for result in results if isinstance(result, Skipped)] == ["text.png"]


def test_too_few_good_photos_stop_the_training_with_the_reasons(good_photos, tmp_path):
    for i, path in enumerate(find_images(good_photos)[:8]):
        shutil.copy(path, tmp_path / f"{i}.jpg")
    (tmp_path / "3.jpg").write_bytes((tmp_path / "3.jpg").read_bytes()[:2000])
    with pytest.raises(InputError, match=r"Only 7(.|\n)*3\.jpg"):
        Ulsad.fit(tmp_path, TINY)


def test_a_whole_dataset_is_not_trained_on(demo_set):
    with pytest.raises(InputError, match="good"):
        Ulsad.fit(demo_set, TINY)


@pytest.mark.slow
def test_diverging_training_stops_and_keeps_the_last_good_checkpoint(good_photos, tmp_path, monkeypatch):
    file = tmp_path / "checkpoint.safetensors"
    monkeypatch.setattr(fitting, "CHECKPOINT", 0.0)
    monkeypatch.setattr(fitting, "SHARE", 0)
    config = dataclasses.replace(TINY, learning_rate=1e30, schedule="constant", steps=60)
    with pytest.raises(TrainingDiverged, match="learning rate"):
        Ulsad.fit(good_photos, config, watch=Watch(on_checkpoint=lambda detector: detector.save(file)))
    mild = dataclasses.replace(config, learning_rate=1e-3, steps=3)
    Ulsad.fit(good_photos, mild, watch=Watch(on_checkpoint=lambda detector: detector.save(file)))
    assert Ulsad.load(file).record["steps"] == 3


def test_stopping_keeps_what_is_learned(good_photos):
    detector = Ulsad.fit(good_photos, TINY, watch=Watch(should_stop=lambda: True))
    assert (detector.record["steps"], detector.record["planned_steps"]) == (1, TINY.steps)


def damaged(detector, tmp_path, how):
    file = tmp_path / f"{how}.safetensors"
    detector.save(file)
    if how == "truncated":
        file.write_bytes(file.read_bytes()[:-1000])
    elif how == "foreign":
        save_file({"x": torch.zeros(3)}, file)
    elif how == "text":
        file.write_text("hello")
    elif how == "absent":
        file.unlink()
    return file


@pytest.mark.parametrize("how", ["truncated", "foreign", "text", "absent"])
def test_a_file_that_is_no_model_of_ours(detector, tmp_path, how):
    file = damaged(detector, tmp_path, how)
    with pytest.raises(InputError, match=file.name):
        Ulsad.load(file)


@pytest.mark.slow
def test_a_model_refuses_other_backbone_weights(good_photos, tmp_path):
    weights = shared("weights/resnet18_imagenet_bnfolded_conv1_to_layer3.pth")
    config = dataclasses.replace(TINY, backbone="resnet18", steps=2)
    Ulsad.fit(good_photos, config, weights=weights).save(tmp_path / "m.safetensors")
    Ulsad.load(tmp_path / "m.safetensors", weights=weights)
    state = torch.load(weights, weights_only=True)
    state["conv1.weight"] = state["conv1.weight"] + 1e-3
    torch.save(state, tmp_path / "other.pth")
    with pytest.raises(InputError, match="other weights of resnet18"):
        Ulsad.load(tmp_path / "m.safetensors", weights=tmp_path / "other.pth")


def test_saving_where_nothing_can_be_written_leaves_the_old_model(detector, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match="could not be written"):
        detector.save(tmp_path / "file" / "m.safetensors")
    assert not list(tmp_path.glob("**/.m.safetensors*"))


def test_photos_of_any_size_and_aspect(detector):
    for size in [(1, 1), (3, 700), (700, 3), (300, 300)]:
        prediction = detector.predict(Image.new("L", size))
        assert prediction.combined_map.shape == (size[1], size[0])
        assert np.isfinite(prediction.combined_map).all()


def test_alpha_and_beta_are_applied_afterwards(detector, demo_set):
    prediction = detector.predict(find_images(demo_set / "test/logical_anomalies")[0])
    raw = prediction.raw_local.copy()
    assert prediction.maps(0.8, 0.9).score > prediction.maps(0.9, 0.999).score
    np.testing.assert_array_equal(raw, prediction.raw_local)


def test_importing_the_package_leaves_gradio_alone():
    import subprocess
    import sys

    code = "import ulsad, sys; print('gradio' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"


def test_default_configuration_is_quick():
    assert Config() == __import__("ulsad").PRESETS["quick"]


def test_held_out_photos_must_not_be_trained_on(good_photos):
    with pytest.raises(InputError, match="both trained on and held out"):
        Ulsad.fit(good_photos, TINY, held_out=find_images(good_photos)[:3])


@pytest.mark.parametrize("device", ["cuda:63", "toaster", "meta"])
def test_a_device_that_is_not_here(good_photos, device):
    with pytest.raises(InputError, match=f"no device '{device}'"):
        Ulsad.fit(good_photos, TINY, device=device)


@pytest.mark.parametrize("header", [{"version": "x"}, {"version": "1"}, {"version": "2", "header": "{}"}])
def test_a_damaged_header(tmp_path, header):
    save_file({"x": torch.zeros(3)}, tmp_path / "m.safetensors", {"format": "ulsad", **header})
    with pytest.raises(InputError, match=r"m\.safetensors"):
        Ulsad.load(tmp_path / "m.safetensors")


@pytest.mark.parametrize("array", [
    np.zeros((9, 9, 3)), np.zeros((9, 9, 4), np.uint8), np.zeros((0, 9, 3), np.uint8), np.zeros(9, np.uint8)])
def test_arrays_that_are_no_photo(detector, array):
    with pytest.raises(InputError, match="uint8 array of shape"):
        detector.predict(array)


def test_a_photo_given_twice_counts_once(good_photos):
    photos = find_images(good_photos)
    detector = Ulsad.fit([photos[0], *photos, photos[3]], dataclasses.replace(TINY, steps=2))
    assert len(detector.record["train"]) + len(detector.record["held_out"]) == len(photos)


def test_a_folder_is_not_a_photo(detector, good_photos):
    with pytest.raises(InputError, match="is a folder"):
        detector.predict(good_photos)


def test_a_model_that_goes_away_while_it_is_opened_is_no_fault(tmp_path, monkeypatch):
    """safetensors opens it a second time, and then the error is another one."""
    def safe_open(*arguments, **options):
        raise RuntimeError("unable to open file")

    (tmp_path / "part.safetensors").touch()
    monkeypatch.setattr(model_file, "safe_open", safe_open)
    with pytest.raises(InputError, match="unable to open file"):
        Ulsad.load(tmp_path / "part.safetensors")
