"""What people say of photos is kept, and undone, beside the model."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, replace
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import DEMO_MODEL, DEMO_PHOTOS
from PIL import Image

from ulsad import InputError
from ulsad.photos.datasets import LabelledPhoto, read_mask
from ulsad.photos.intake import Intake, keep, kept
from ulsad.runs import directory, events
from ulsad.runs.again import train_with
from ulsad.runs.marks import Mark, Marks, beside, truth
from ulsad.ui import batches, library, places
from ulsad.ui.batches import Request
from ulsad.ui.inspect import marking, scoring
from ulsad.ui.inspect.views import ALL, Controls, criterion

GOOD, SCRATCH = (Mark(digest, f"{digest}.jpg", kind == "", kind, 0.5, "tray, today", "ann", "now")
                 for digest, kind in (("aa", ""), ("bb", "scratch")))


@pytest.fixture
def photo(tmp_path):
    file = tmp_path / "photo.JPG"
    file.write_bytes(DEMO_PHOTOS[0].read_bytes())
    return file


def test_marks_are_kept_with_their_photos_and_the_last_can_be_undone(tmp_path, photo):
    marks = Marks(tmp_path / "marks")
    assert marks.read() == []
    marks.add(GOOD, photo)
    marks.add(SCRATCH, photo)
    content = photo.read_bytes()
    photo.unlink()  # the photo itself is kept
    assert marks.read() == [GOOD, SCRATCH] and marks.photo(GOOD).read_bytes() == content
    assert marks.undo() == SCRATCH and marks.read() == [GOOD]
    with pytest.raises(InputError, match="gone"):
        marks.photo(SCRATCH)
    marks.undo()
    with pytest.raises(InputError, match="Nothing is marked"):
        marks.undo()


def test_a_second_mark_of_a_photo_replaces_the_first_until_it_is_undone(tmp_path, photo):
    marks = Marks(tmp_path / "marks")
    wrong = replace(GOOD, is_good=False)
    for mark in (wrong, SCRATCH, GOOD):
        marks.add(mark, photo)
    assert marks.read() == [SCRATCH, GOOD]
    marks.undo()
    assert marks.read() == [wrong, SCRATCH] and marks.photo(wrong).exists()


def test_a_painted_mask_is_kept_with_the_defect_and_goes_with_it(tmp_path, photo):
    marks = Marks(tmp_path / "marks")
    masks = [np.zeros((30, 40), bool), np.ones((30, 40), bool)]
    masks[0][5:10, 3:30] = True
    marks.add(SCRATCH, photo, masks[0])
    marks.add(replace(SCRATCH, kind="dent"), photo)  # another kind, the same place
    marks.add(SCRATCH, photo, masks[1])
    marks.add(replace(SCRATCH, is_good=True), photo, masks[1])
    for painted in (None, masks[1], masks[0], masks[0]):
        mark, = marks.read()
        assert bool(mark.mask) is (painted is not None)
        if painted is None:
            assert marks.mask(mark) is None
        else:
            assert np.array_equal(np.asarray(Image.open(marks.mask(mark))), 255 * painted)
        marks.undo()
    assert list((marks.folder / "masks").iterdir()) == list((marks.folder / "photos").iterdir()) == []
    with pytest.raises(InputError, match=r"mask of bb\.jpg is gone"):
        marks.mask(mark)


def test_a_list_from_before_there_were_masks_is_read(tmp_path):
    old = asdict(SCRATCH)
    del old["mask"]
    (tmp_path / "marks.json").write_text(json.dumps([old]))
    assert Marks(tmp_path).read() == [SCRATCH]


def test_a_training_with_marked_defects_gets_their_masks(tmp_path, monkeypatch):
    run, marks = tmp_path / "parts", Marks(tmp_path / "marks")
    known_mask, painted = tmp_path / "known.png", np.zeros((300, 400), bool)
    painted[100:200, 200:] = True
    Image.fromarray(painted[::-1, ::-1]).save(known_mask)
    good, known, *said = DEMO_PHOTOS[:5]
    keep(Intake((good,), (), (LabelledPhoto(known, "dent", masks=(known_mask,)),)), run / directory.PHOTOS)
    (run / "order.json").write_text('{"photos": []}')
    (run / events.EVENTS).touch()
    for photo, mask in zip((known, *said), (None, painted, painted, None), strict=True):
        digest = photo.stem.replace(" ", "")
        marks.add(Mark(digest, "x.jpg", False, "scratch", 0.5, "tray", "", ""), photo, mask)
    monkeypatch.setattr(directory, "start", lambda folder, arguments: None)
    test = kept(train_with(run, marks) / directory.PHOTOS).test
    masks = {photo.path.read_bytes(): photo.masks for photo in test}
    found = [read_mask(masks[photo.read_bytes()], 100) for photo in (known, *said)]
    assert [mask.mean() for mask in found] == pytest.approx([1 / 6, 1 / 6, 1 / 6, 0], abs=0.01)
    assert found[1][50, 75] and found[2][50, 75] and found[0][50, 25]


def test_undo_can_be_of_one_photo(tmp_path, photo):
    marks = Marks(tmp_path / "marks")
    for mark in (GOOD, SCRATCH):
        marks.add(mark, photo)
    assert marks.undo(GOOD.digest) == GOOD and marks.read() == [SCRATCH]
    with pytest.raises(InputError, match="Nothing is marked"):
        marks.undo(GOOD.digest)


def test_a_damaged_list_is_named(tmp_path):
    (tmp_path / "marks.json").write_text(json.dumps([{"digest": "a"}]))
    with pytest.raises(InputError, match=r"marks\.json can't be read"):
        Marks(tmp_path).read()


def test_marks_lie_beside_their_model_and_follow_its_name(tmp_path, photo):
    for run in (tmp_path / "run", tmp_path / "part/version 1"):
        run.mkdir(parents=True)
        (run / events.EVENTS).touch()
    assert beside(tmp_path / "run" / "model.safetensors").folder == tmp_path / "run" / "marks"
    (tmp_path / "part" / directory.PART).write_text("{}")
    assert beside(tmp_path / "part/version 1/model.safetensors").folder == tmp_path / "part" / "marks"
    shutil.rmtree(tmp_path / "run")
    shutil.rmtree(tmp_path / "part")
    model = tmp_path / "part 1.5.safetensors"
    model.write_bytes(b"model")
    beside(model).add(GOOD, photo)
    renamed = directory.rename(model, "part 2.0")
    assert beside(renamed).folder == tmp_path / "part 2.0.marks" and beside(renamed).read() == [GOOD]
    assert directory.all_runs(tmp_path) == []
    directory.delete(renamed)
    assert sorted(tmp_path.iterdir()) == [photo]


@pytest.fixture
def opened(tmp_path):
    """Controls of the demo photos under a copy of the demo model."""
    (tmp_path / "tray.safetensors").write_bytes(DEMO_MODEL.read_bytes())
    request = Request(tuple((file, file.name) for file in DEMO_PHOTOS))
    key = batches.begun("tray.safetensors", tmp_path, request)
    list(batches.score(key))
    detector = batches.recalled(key).detector
    *settings, lines = scoring._suggested_settings(detector, 0.05)
    yield Controls(key, 0, *settings, lines, False, ALL, ALL)
    batches.forget(key)


def test_a_photo_is_marked_counted_and_thresholds_fitted(opened, tmp_path):
    who = SimpleNamespace(username="ann")
    names = batches.recalled(opened.key).batch.names
    good, scratch = (next(i for i, name in enumerate(names) if word in name) for word in ("good", "scratch"))
    score = batches.recalled(opened.key).batch.predictions[good].score
    strict = opened._replace(lines=opened.lines | {"review": 0.9 * score, "fail": 0.95 * score}, photo=good)
    table, marks = (marking.marked_good(who, *strict)[i] for i in (4, -1))
    row = next(row for row in json.loads(table)["rows"] if row["index"] == good)
    assert row["mark"] == "marked good" and row["verdict"] == "fail"
    assert "<tr><th>good</th><td>0</td><td>1</td></tr>" in marks
    marks = marking.marked_defect(who, "", " scratch ", *strict._replace(photo=scratch))[-1]
    assert "<tr><th>defects</th><td>0</td><td>1</td></tr>" in marks
    kept = library.marks_of("tray.safetensors", tmp_path).read()
    assert [(mark.is_good, mark.kind, mark.who) for mark in kept] == [(True, "", "ann"),
                                                                      (False, "scratch", "ann")]
    lines, *views = marking.fitted(*strict)
    assert lines["review"] >= score and lines["fail"] >= lines["review"]
    assert "<tr><th>good</th><td>1</td><td>0</td></tr>" in views[-1]
    assert "<tr><th>defects</th><td>0</td><td>1</td></tr>" in views[-1]
    marking.undone(*strict)
    assert [mark.kind for mark in library.marks_of("tray.safetensors", tmp_path).read()] == [""]


def test_a_held_out_photo_that_is_marked_counts_once(opened):
    detector = batches.recalled(opened.key).detector
    now, known = criterion(*opened[2:7]), detector.record["digests"]["held_out"]
    scores = detector.calibration.held_out_scores(now.alpha, now.beta, now.combine)[:, 0].tolist()
    assert marking._scores_of_others(detector, now, {known[3], "another"}).tolist() == scores[:3] + scores[4:]


def test_what_is_painted_goes_with_the_mark_and_is_outlined(opened, tmp_path):
    who, batch = SimpleNamespace(username=None), batches.recalled(opened.key)
    stroke = {"points": [[0.25, 0.5], [0.75, 0.5]], "width": 0.1}

    def marked(photo: int, **drawing) -> dict:
        text = json.dumps({"photo": places.address(batch.picture(0)), "strokes": [stroke]} | drawing)
        return json.loads(marking.marked_defect(who, text, "", *opened._replace(photo=photo))[0])

    shown, marks = marked(0), library.marks_of("tray.safetensors", tmp_path)
    assert shown["mark"] == "defect" and shown["painted"].startswith("M")
    mask = np.asarray(Image.open(marks.mask(marks.read()[0]))) > 0
    height, width = batch.batch.predictions[0].size
    assert mask.shape == (height, width)
    assert mask[height // 2, width // 2] and not mask[height // 4].any()
    assert marked(1)["painted"] == ""  # a drawing on photo 0
    assert marked(2, strokes=[])["painted"] == ""
    assert json.loads(marking.marked_good(who, *opened)[0])["mark"] == "good"
    for nonsense in ("{", "[]", "{}", '"a"'):
        with pytest.raises(InputError, match="can't be read"):
            marking.marked_defect(who, nonsense, "", *opened)
    with pytest.raises(InputError, match="can't be read"):
        marked(0, strokes=[{"points": ["a"], "width": None}])
    assert len(marks.read()) == 3


def test_the_truth_comes_from_the_data_set_and_else_from_a_mark(tmp_path, photo):
    marks, painted = Marks(tmp_path / "marks"), np.zeros((8, 8), bool)
    painted[0] = True
    marks.add(SCRATCH, photo, painted)
    scratch, = marks.read()
    Image.fromarray(np.where(painted.T, 255, 0).astype(np.uint8)).save(tmp_path / "mask.png")
    labelled = LabelledPhoto(photo, "scratch", masks=(tmp_path / "mask.png",))
    assert (truth(labelled, scratch, marks, 8) == painted.T).all()
    assert not truth(LabelledPhoto(photo, "good"), scratch, marks, 8).any()
    for unknown in (None, LabelledPhoto(photo, "scratch")):
        assert (truth(unknown, scratch, marks, 8) == painted).all()
        assert not truth(unknown, GOOD, marks, 8).any()
        assert truth(unknown, None, marks, 8) is None and truth(unknown, SCRATCH, marks, 8) is None


def test_thresholds_need_an_open_marked_photo(opened):
    with pytest.raises(InputError, match="None of the open photos is marked"):
        marking.fitted(*opened)
