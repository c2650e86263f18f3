"""What the app keeps on disk for the browser, for how long, and how much of it in memory."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

from PIL import Image

from ulsad.photos.images import find_images
from ulsad.runs import directory, events
from ulsad.runs.outcome import judge
from ulsad.ui import library, places
from ulsad.ui.train import tab as train_tab


def test_folders_of_killed_processes_are_removed_and_no_others(tmp_path):
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    host = socket.gethostname()
    names = {f"ulsad-x-{host}-{gone.pid}-a1": False, f"ulsad-x-{host}-{os.getpid()}-b2": True,
             f"ulsad-x-elsewhere-{gone.pid}-c3": True, f"ulsad-y-{host}-{gone.pid}-d4": True,
             "ulsad-x-": True}
    for name in names:
        (tmp_path / name / "photos").mkdir(parents=True)
    places.sweep(tmp_path, "ulsad-x-")
    assert {name: (tmp_path / name).exists() for name in names} == names


def test_a_copy_is_of_the_file_as_it_is_now_and_few_are_kept(tmp_path):
    file = tmp_path / "ä model.safetensors"
    file.write_text("first")
    first = places.copy_of(file)
    assert first.name == file.name and places.copy_of(file) == first
    file.unlink()
    file.write_text("second")
    os.utime(file, ns=(1, 1))
    assert places.copy_of(file).read_text() == "second" and first.read_text() == "first"
    for i in range(places.COPIES):
        other = tmp_path / str(i)
        other.touch()
        places.copy_of(other)
    assert not first.exists() and places.copy_of(file).read_text() == "second"


def test_few_large_photos_stay_in_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(library, "MOST_PIXELS", 2500)
    library._photos.clear()
    for i in range(4):
        Image.new("RGB", (40, 25), (i, 0, 0)).save(tmp_path / f"{i}.png")
        library.photo(str(tmp_path / f"{i}.png"))
    assert [image.getpixel((0, 0))[0] for image in library._photos.values()] == [2, 3]
    Image.new("RGB", (400, 250)).save(tmp_path / "large.png")
    assert library.photo(str(tmp_path / "large.png")) is library.photo(str(tmp_path / "large.png"))
    assert len(library._photos) == 1


def test_a_finished_run_is_shown_without_writing_into_its_folder(good_photos, detector, tmp_path):
    """The models directory may be write-protected."""
    folder = tmp_path / "run"
    folder.mkdir()
    detector.save(folder / directory.MODEL)
    judge(detector, ()).write(folder / directory.OUTCOME)
    events.append(folder, "finished")
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    shown = train_tab._watch(tmp_path, "run", ())
    model, card = (Path(button.value["path"]) for button in shown[8:10])
    assert model.read_bytes() == (folder / directory.MODEL).read_bytes()
    assert "<h1>" in card.read_text(encoding="utf-8")
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before
    assert "no longer exists" in train_tab._watch(tmp_path, "other", shown[-1])[0]


def test_lists_are_read_again_when_somebody_else_changes_them(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        events.append(tmp_path / name, "stopped")
    seen = train_tab._watch(tmp_path, "a", ())
    assert all(value == {"__type__": "update"} for value in train_tab._watch(tmp_path, "a", seen[-1]))
    directory.delete(tmp_path / "b")
    assert train_tab._watch(tmp_path, "a", seen[-1])[-2] != seen[-2]


def test_photos_below_a_folder_on_the_server(good_photos):
    assert library.folder_on_server(good_photos.parent, "good") == good_photos
    assert library.folder_on_server(good_photos.parent, f" {good_photos.parent}/good/ ") == good_photos
    assert find_images(library.folder_on_server(good_photos.parent, ".")) == find_images(good_photos)
