"""Rows in a file hold what rows in memory hold, take no memory, and change nothing in a training."""

from __future__ import annotations

import dataclasses
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import TINY
from PIL import Image

from ulsad import Config, InputError
from ulsad.compute import rows
from ulsad.compute.rows import MappedRows, Space, batches, take
from ulsad.detector import calibrating, fitting, photo_sets
from ulsad.detector.fitting import Fit, Progress, Watch
from ulsad.detector.photo_sets import held_out_share, read_and_split
from ulsad.method.augmentation import with_copies
from ulsad.photos.images import find_images

HALF = 2.0**-10  # relative precision of float16, rounded generously


@pytest.fixture
def values() -> torch.Tensor:
    return torch.randn(7, 3, 5, generator=torch.Generator().manual_seed(1)) * 10


@pytest.fixture
def mapped(values, tmp_path) -> MappedRows:
    place = MappedRows.allocated(tmp_path / "values", tuple(values.shape), torch.float32)
    for start in range(0, 7, 2):
        place[start:start + 2] = values[start:start + 2]
    return place


def test_a_file_gives_back_what_was_written(values, mapped, tmp_path):
    np.testing.assert_allclose(mapped[:], values, rtol=HALF)
    assert mapped[:].dtype == torch.float32 and mapped.file.stat().st_size == mapped.bytes == 7 * 15 * 2
    squares = torch.randint(256, (4, 3, 8, 8), dtype=torch.uint8)
    place = MappedRows.allocated(tmp_path / "squares", tuple(squares.shape), torch.uint8)
    place[torch.tensor([2, 0, 3, 1])] = squares[torch.tensor([2, 0, 3, 1])]
    assert torch.equal(place[:], squares) and place[:].dtype == torch.uint8


def test_parts_are_those_of_a_tensor(values, mapped):
    in_memory = values.half().float()
    for part in (slice(2, 5), slice(None), slice(6, 9), torch.tensor([5, 0, 5]), torch.tensor([], dtype=int)):
        assert torch.equal(mapped[part], in_memory[part])
    assert [len(batch) for batch in batches(mapped, 3)] == [3, 3, 1]
    assert torch.equal(torch.cat(list(batches(mapped, 3))), in_memory)


def test_taken_rows_are_views_of_the_same_file(values, mapped):
    first, second = torch.tensor([6, 1, 4, 3]), torch.tensor([2, 0])
    for whole in (mapped, values.half().float()):
        some = take(take(whole, first), second)
        assert tuple(some.shape) == (2, 3, 5) and len(some) == 2
        assert torch.equal(some[:], values.half().float()[torch.tensor([4, 6])])
    take(mapped, first)[1:2] = torch.full((1, 3, 5), 8.0)
    assert torch.equal(mapped[1:2], torch.full((1, 3, 5), 8.0))
    assert take(values, torch.arange(7)) is values


def test_a_disk_without_room_is_named_and_nothing_stays_on_it(tmp_path):
    with pytest.raises(InputError, match=r"no room for 931322\.6 GB of features .* GB are free\. Free"):
        Space(tmp_path / "scratch").empty("features", (10, 10**14), torch.uint8)
    assert not list((tmp_path / "scratch").iterdir())


TOUCH_200_MB = """
import re, sys
from pathlib import Path
import torch
from ulsad.compute.rows import MappedRows

def peak():  # MB of resident memory
    return int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024

def touch(rows):
    before, total = peak(), 0.0
    for start in range(0, 400, 2):
        rows[start:start + 2] = torch.full((2, 512, 512), start / 2)
    for start in range(0, 400, 2):
        total += float(rows[torch.arange(start, start + 2)].mean())
    assert total == sum(range(200)), total
    print(peak() - before)

touch(MappedRows.allocated(Path(sys.argv[1]), (400, 512, 512), torch.float32))
touch(torch.empty(400, 512, 512, dtype=torch.float16))
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
def test_memory_does_not_grow_with_the_rows_touched(tmp_path):
    done = subprocess.run([sys.executable, "-c", TOUCH_200_MB, tmp_path / "rows"], capture_output=True,
                          text=True, cwd=Path(__file__).parents[1], check=True)
    in_file, in_memory = map(float, done.stdout.split())
    assert in_file < 80 and in_memory > 160, done.stdout  # of 200 MB; a batch and its copies are about 10


@pytest.fixture(scope="module")
def copied(good_photos, tmp_path_factory) -> Path:
    """Nine of the photos, the third under another name as well."""
    folder = tmp_path_factory.mktemp("copied")
    for photo in find_images(good_photos)[:9]:
        shutil.copy(photo, folder)
    third = find_images(folder)[2]
    Image.open(third).save(folder / "again.png")
    return folder


def fit(photos: Path, config: Config, scratch: Path) -> tuple[dict[str, torch.Tensor], list[list[float]]]:
    """What was prepared, looked at during the first step, and the losses of all steps."""
    parts, losses = {}, []

    def look(progress: Progress) -> None:
        if progress.step is None:
            return
        losses.append([progress.step.local, progress.step.attention, progress.step.local_global])
        if len(losses) == 1:
            prepared, data = training.prepared, training.prepared.data
            assert isinstance(data.attention, MappedRows) == bool(list(scratch.rglob("targets")))
            parts.update(images=data.images[:], features=data.features[:], attention=data.attention[:],
                         held_out=prepared.held_out.images[:], mean=prepared.branches.mean,
                         std=prepared.branches.std)

    training = Fit(config, Watch(look), None)
    training.run(photos, None, None, None, scratch)
    return parts, losses


@pytest.mark.slow
def test_prepared_data_and_losses_are_those_in_memory(good_photos, tmp_path, monkeypatch):
    config = dataclasses.replace(TINY, steps=3)
    parts, losses = fit(good_photos, config, tmp_path)
    monkeypatch.setattr(rows, "MEMORY", 1)
    in_file, losses_in_file = fit(good_photos, config, tmp_path)
    assert not list(tmp_path.iterdir()) and len(losses) == 3
    assert torch.equal(in_file["images"], parts["images"])
    assert torch.equal(in_file["held_out"], parts["held_out"])
    for name in ("features", "attention", "mean", "std"):
        np.testing.assert_allclose(in_file[name], parts[name], rtol=2 * HALF, atol=0.01, err_msg=name)
    np.testing.assert_allclose(losses_in_file, losses, rtol=1e-2)


def test_copies_in_a_file_are_those_in_memory(tmp_path):
    squares = torch.randint(256, (2, 3, 256, 256), dtype=torch.uint8)
    config = dataclasses.replace(Config(), augmented_photos=4)
    copies = with_copies(squares, config, Space(tmp_path))
    assert isinstance(copies, MappedRows) and torch.equal(copies[:], with_copies(squares, config))


def test_no_more_are_held_out_than_are_of_use(good_photos, monkeypatch):
    monkeypatch.setattr(photo_sets, "MOST_HELD_OUT", 3)
    config = dataclasses.replace(Config(), held_out=0.5, folds=1)
    good, held_out, _ = read_and_split(good_photos, None, config)
    assert (len(good.paths), len(held_out.paths)) == (9, 3) and held_out_share(10_000, config) == 3


def test_photos_that_show_the_same_never_stand_on_both_sides(copied):
    third = find_images(copied)[3]  # 'again' comes first
    for seed in range(5):
        *sides, _ = read_and_split(copied, None, dataclasses.replace(Config(), seed=seed, folds=1))
        good, held_out = (set(side.digests) for side in sides)
        assert not good & held_out and len(good) + len(held_out) == 9
        assert [item.reason for item in sides[0].skipped] == [
            f"{third}: shows the same as {copied / 'again.png'}."]


def test_more_photos_than_set_the_quantiles_all_have_their_scores(detector, good_photos, monkeypatch):
    _, photos, _ = read_and_split(good_photos, None, dataclasses.replace(detector.config, held_out=0.5))
    distances = fitting.held_out_distances(detector.branches, photos.images)
    ignored = np.zeros((256, 256), bool)
    ignored[:64] = True
    for left_out in (None, ignored):
        whole = calibrating.calibrate(detector.branches, distances, left_out)
        monkeypatch.setattr(calibrating, "PIXELS_OF", 2)
        some = calibrating.calibrate(detector.branches, distances, left_out)
        monkeypatch.undo()
        of_two = calibrating.calibrate(detector.branches, distances[::3], left_out)
        np.testing.assert_array_equal(some.local.values, of_two.local.values)
        np.testing.assert_array_equal(some.global_.values, of_two.global_.values)
        for level in (0.5, 0.9, 0.995):
            assert some.local(level) == pytest.approx(whole.local(level), rel=0.2)
            assert some.global_(level) == pytest.approx(whole.global_(level), rel=0.2)
        same_quantiles = dataclasses.replace(whole, local=some.local, global_=some.global_)
        assert len(some.frontiers) == 6
        np.testing.assert_array_equal(some.held_out_scores(0.9, 0.995),
                                      same_quantiles.held_out_scores(0.9, 0.995))
