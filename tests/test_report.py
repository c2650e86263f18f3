"""References, batches, tables and reports of a really trained, if poor, detector."""

import re
from base64 import b64decode
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ulsad import InputError, Ulsad
from ulsad.detector.batch import Batch, tally
from ulsad.detector.criterion import Criterion
from ulsad.detector.references import MOST, References
from ulsad.photos.images import Skipped, find_images
from ulsad.runs.report import write_report


@pytest.fixture(scope="module")
def batch(detector, demo_set, tmp_path_factory) -> Batch:
    broken = tmp_path_factory.mktemp("broken") / "broken & <torn>.png"
    broken.write_text("not a photo")
    paths = [*find_images(demo_set / "test"), *find_images(demo_set / "train" / "good")[:2], broken]
    results = list(detector.predict_many(paths))
    kept = [result for result in results if not isinstance(result, Skipped)]
    return Batch(tuple(result.path.name for result in kept), tuple(kept),
                 tuple(result for result in results if isinstance(result, Skipped)))


@pytest.fixture(scope="module")
def criterion(detector) -> Criterion:
    return Criterion.suggested(detector.calibration, 0.9, 0.995)


def test_scores_of_a_batch_are_those_of_the_maps(batch, criterion):
    for judged, prediction in zip(batch.judged(criterion), batch.predictions, strict=True):
        maps = prediction.maps(criterion.alpha, criterion.beta, criterion.combine)
        assert judged[:3] == pytest.approx((maps.score, maps.local_score, maps.global_score), abs=1e-6)
    verdicts = [judged.verdict for judged in batch.judged(criterion)]
    assert sum(tally(verdicts).values()) == len(batch) == len(verdicts)


def test_a_photo_given_as_pixels_is_in_a_report_without_pictures(detector, batch, criterion, tmp_path):
    prediction = detector.predict(Image.open(batch.predictions[0].file))
    write_report(tmp_path / "report.html", detector, "model", Batch(("shot",), (prediction,)), criterion)
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "<b>shot</b>" in text and "was given as pixels" in text and "<img" not in text


def test_photos_of_the_training_are_recognised_by_their_pixels(detector, batch, good_photos, tmp_path):
    seen = {detector.seen_in(prediction) for prediction in batch.predictions[-2:]}
    assert seen <= {"training", "held-out"}
    assert {detector.seen_in(prediction) for prediction in batch.predictions[:-2]} == {""}
    renamed = tmp_path / "another name.bmp"
    Image.open(find_images(good_photos)[0]).convert("RGB").save(renamed)
    assert detector.seen_in(detector.predict(renamed)) != ""


def test_the_nearest_reference_of_a_training_photo_is_another_one(detector, good_photos):
    references = detector.references
    descriptors = references.descriptors.astype(np.float32)
    for i, name in enumerate(references.names[:3]):
        prediction = detector.predict(good_photos / name)
        gaps = np.linalg.norm(descriptors - descriptors[i], axis=1)
        assert prediction.reference == gaps.argsort()[1] != i
        assert max(references.photo(prediction.reference).size) == 384


def test_many_photos_are_represented_by_a_few(good_photos):
    paths = find_images(good_photos)
    descriptors = np.random.default_rng(0).normal(size=(60, 8)).astype(np.float32)
    chosen = References.chosen([paths[i % len(paths)] for i in range(60)], descriptors)
    assert len(chosen.names) == len(chosen.jpegs) == len(chosen.descriptors) <= MOST
    literal = [int(np.argmin([np.sum((one - other.astype(np.float32)) ** 2) for other in chosen.descriptors]))
               for one in descriptors[:10]]
    assert chosen.nearest(descriptors[:10]).tolist() == literal


def test_the_report_needs_nothing_but_itself(detector, batch, criterion, tmp_path):
    file = tmp_path / "report.html"
    done = []
    write_report(file, detector, "tray <1>", batch, criterion, lambda *counts: done.append(counts))
    text = file.read_text(encoding="utf-8")
    assert not re.search(r"(src|href)=['\"](?!data:)", text) and "<script" not in text and "http" not in text
    pictures = re.findall(r"src='data:image/jpeg;base64,([^']+)'", text)
    assert len(pictures) == 4 * len(batch) and done[-1] == (len(batch), len(batch))
    assert Image.open(BytesIO(b64decode(pictures[0]))).size == (360, 270)
    assert "tray &lt;1&gt;" in text and "broken &amp; &lt;torn&gt;" in text
    for words in ("2 of these photos were used to make the model",
                  "Trained on: photos that set the weights (10)",
                  "Held out: photos that set quantiles", detector.branches.extractor.weights_hash[:16],
                  "seed 0", "0.9, 0.995", "12 of 12 steps", "at 95 % confidence"):
        assert words in text, words


def test_ignored_places_count_nowhere(detector, demo_set):
    photo = find_images(demo_set / "test/structural_anomalies")[0]
    whole = detector.predict(photo)
    row, column = divmod(int(whole.raw_local.argmax()), 256)
    ignored = np.zeros((256, 256), bool)
    ignored[max(row - 30, 0):row + 30, max(column - 30, 0):column + 30] = True
    partial = detector.ignoring(ignored)
    prediction = partial.predict(photo)
    assert prediction.raw_local[ignored].max() == 0
    np.testing.assert_array_equal(prediction.raw_local[~ignored], whole.raw_local[~ignored])
    held_out = [p.raw_local[~ignored] for p in detector.predict_many(
        demo_set / "train/good" / name for name in detector.record["held_out"])]
    assert partial.calibration.local(0.9) == pytest.approx(np.quantile(held_out, 0.9), rel=1e-3)
    assert prediction.maps().local_score == pytest.approx(
        float(0.1 * (whole.raw_local[~ignored].max() - partial.calibration.local(0.9))
              / (partial.calibration.local(0.995) - partial.calibration.local(0.9))), rel=1e-4)
    assert detector.calibration.ignored is None
    same = partial.ignoring(None).calibration
    np.testing.assert_array_equal(same.local.values, detector.calibration.local.values)
    with pytest.raises(InputError, match="Leave something"):
        detector.ignoring(np.ones((256, 256), bool))


def test_criteria_and_ignored_places_are_saved_with_the_model(detector, criterion, demo_set, tmp_path):
    ignored = np.zeros((256, 256), bool)
    ignored[:40] = True
    file = tmp_path / "m.safetensors"
    detector.ignoring(ignored).with_criterion("final inspection", criterion).save(file)
    again = Ulsad.load(file)
    assert again.criteria == {"final inspection": criterion}
    np.testing.assert_array_equal(again.calibration.ignored, ignored)
    photo = find_images(demo_set / "test")[0]
    assert again.predict(photo).score == detector.ignoring(ignored).predict(photo).score
    assert again.references.jpegs == detector.references.jpegs
    assert Path(file).stat().st_size < 30e6
