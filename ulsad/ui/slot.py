"""A slot for dropped photos, folders and zips; a second drop adds to the first.

The browser walks through folders and sends every file with its path in them (`slot.js`), by gradio's own
upload. A visitor's slot is a private folder on the server: nobody can fetch files from it.
"""

from __future__ import annotations

import filecmp
import json
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from html import escape
from pathlib import Path, PurePosixPath
from typing import Any

import gradio as gr
from gradio.context import LocalContext

from ulsad.errors import InputError
from ulsad.photos.archives import MAX_FILES, extract_photos, is_table
from ulsad.photos.files import link_or_copy, place_inside
from ulsad.photos.images import SUFFIXES, find_images, is_photo, natural_order
from ulsad.ui import library, places
from ulsad.ui.batches import Named
from ulsad.ui.component import component

LISTED = 400  # names that a slot shows; thousands would slow down the browser
ZIP = ".zip"


@dataclass(frozen=True)
class Slot:
    """What one visitor has dropped into one slot. `names` are paths below `folder`, in the order dropped."""

    folder: Path | None = None
    names: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()  # names of refused files since the slot was last empty

    def __bool__(self) -> bool:
        return bool(self.names)

    @property
    def _place(self) -> Path:
        assert self.folder is not None  # only a slot that was never filled has none
        return self.folder

    @property
    def zips(self) -> list[Path]:
        return [self._place / name for name in self.names if _is_zip(name)]

    @property
    def sources(self) -> list[Path]:
        """The folder of all loose photos, if there are any, and every zip."""
        loose = [self._place] if len(self.names) > len(self.zips) else []
        return loose + self.zips

    @property
    def folders(self) -> list[Path]:
        """The same with every zip unpacked into its own folder. Raises `InputError`."""
        return [_unpacked(source) if _is_zip(source.name) else source for source in self.sources]

    def photos(self) -> list[Named]:
        """Every photo with its name. A zip without photos is skipped with a warning. Raises `InputError` if
        there are no photos at all."""
        found, problems = [], []
        for source in self.sources:
            try:
                root = _unpacked(source) if _is_zip(source.name) else source
                found += [(path, path.relative_to(root).as_posix()) for path in find_images(root)]
            except InputError as error:
                problems.append(plain(str(error)))
        if not found:
            raise InputError("\n".join(problems) or "There are no photos in it.")
        for problem in problems:
            gr.Warning(escape(problem), title="Left out", duration=None)
        return found

    def add(self, files: Iterable[tuple[Path, str]], left_out: Iterable[str] = ()) -> Slot:
        """A slot with more files and their names; the same file under the same name is kept once.

        Raises `InputError` for too many files, for names that lead out of the folder, and for a full disk.
        """
        files = list(files)
        if len(self.names) + len(files) > MAX_FILES:
            raise InputError(f"A slot can hold {MAX_FILES:,} files, not {len(self.names) + len(files):,}. "
                             "Drop fewer, or train from the command line.")
        folder = self.folder or places.new(places.private())
        names = dict.fromkeys(self.names)
        try:
            for file, name in files:
                names[_put(file, folder, place_inside(name))] = None
        except OSError as error:
            raise InputError(f"The files could not be saved ({error}). If the disk is full, free some space "
                             "and drop them again.") from error
        return Slot(folder, tuple(names), self.left_out + tuple(left_out))

    def without(self, names: Iterable[str]) -> Slot:
        """A slot without these files; names that are not in the slot are ignored."""
        gone = set(names) & set(self.names)
        for name in gone:
            (self._place / name).unlink(missing_ok=True)
            shutil.rmtree(_place_of(self._place / name), ignore_errors=True)
        return replace(self, names=tuple(name for name in self.names if name not in gone))

    def discard(self) -> None:
        if self.folder:
            shutil.rmtree(self.folder, ignore_errors=True)


def build(
    label: str, elem_id: str, hint: str = "Drop photos, a folder or a zip here"
) -> tuple[gr.HTML, gr.State]:
    """Lay out a slot; the state holds its `Slot`. To empty it, set the state to `Slot()`."""
    template = _TEMPLATE.format(label=escape(label), hint=escape(hint),
                                accept=",".join((*SUFFIXES, ZIP)))
    view = component(["slot"], template, elem_id)
    state = gr.State(Slot(), delete_callback=Slot.discard)
    for event, function in ((view.upload, _added), (view.delete, _taken_out), (view.clear, _emptied)):
        event(library.show_errors(function), state, state, show_progress="hidden", concurrency_limit=1,
              concurrency_id=elem_id, trigger_mode="multiple")
    state.change(_value, state, view, show_progress="hidden")
    return view, state


def plain(text: str) -> str:
    """A message without the paths of slots on the server, which mean nothing to users."""
    private = f"{places.private()}/"
    while private in text:
        before, _, rest = text.partition(private)
        _, _, inside = rest.partition("/")
        text = before + inside
    return text


def _added(event: gr.EventData, slot: Slot) -> Slot:
    files = [uploaded(file, "name") for file in event.files]
    kept = [(path, name) for path, name in files if is_welcome(name)]
    refused = [name for _, name in files if not is_welcome(name)]
    return slot.add(kept, [*map(str, event.left_out), *refused])


def uploaded(file: Mapping[str, Any], name: str) -> Named:
    """A file as the browser or another program sends it, with its name, which stands under `name`.

    Raises `InputError` unless gradio has received that file.
    """
    page = LocalContext.blocks.get()
    assert page is not None  # gradio sets it for every event
    path = str(file.get("path")) if isinstance(file, Mapping) else ""
    if path not in page.upload_file_set:
        raise InputError("Refused: not all of these files were uploaded here. Drop them again.")
    return Path(path), str(file.get(name) or Path(path).name)


def is_welcome(name: str) -> bool:
    """Whether a slot takes a file: photos, zips, and the table that labels VisA's photos."""
    place = PurePosixPath(name)
    return is_photo(place) or (_is_zip(name) and not place.name.startswith(".")) or is_table(place)


def _taken_out(event: gr.EventData, slot: Slot) -> Slot:
    return slot.without(map(str, event.names))


def _emptied(slot: Slot) -> Slot:
    slot.discard()
    return Slot()


def _value(slot: Slot) -> str:
    """JSON for slot.js."""
    zips = len(slot.zips)
    photos = len(slot.names) - zips
    kinds = [f"{count:,} {noun}{'s' if count > 1 else ''}" for count, noun in
             ((photos, "photo"), (zips, "zip")) if count]
    folders = {PurePosixPath(name).parent for name in slot.names} - {PurePosixPath(".")}
    inside = f" in {len(folders)} folder{'s' if len(folders) > 1 else ''}" if folders else ""
    names = sorted(slot.names, key=lambda name: natural_order(PurePosixPath(name)))
    return json.dumps({"said": " and ".join(kinds) + inside, "names": names[:LISTED], "total": len(names),
                       "left_out": _left_out(slot.left_out)})


def _left_out(names: tuple[str, ...]) -> str:
    if not names:
        return ""
    more = ", …" if len(names) > 5 else ""
    files = "file was" if len(names) == 1 else "files were"
    return f"{len(names):,} {files} left out (not photos): {', '.join(names[:5])}{more}"


def _is_zip(name: str) -> bool:
    return name.lower().endswith(ZIP)


def _put(file: Path, folder: Path, place: PurePosixPath) -> str:
    """Save a file below a folder under its own name, or with -2 appended where the name is taken."""
    free, count = place, 1
    while (folder / free).exists():
        if filecmp.cmp(file, folder / free, shallow=False):
            return str(free)
        count += 1
        free = place.with_stem(f"{place.stem}-{count}")
    (folder / free).parent.mkdir(parents=True, exist_ok=True)
    link_or_copy(file, folder / free)
    return str(free)


def _unpacked(archive: Path) -> Path:
    """The folder of a slot's zip, unpacked on the first call. Raises `InputError`."""
    folder = _place_of(archive)
    if not folder.exists():
        part = places.new(places.private())
        try:
            extract_photos(archive, part)
        except InputError:
            shutil.rmtree(part, ignore_errors=True)
            raise
        part.rename(folder)
    return folder


def _place_of(archive: Path) -> Path:
    """Where a zip is unpacked: a hidden folder, so that it is not taken for photos dropped beside the zip."""
    return archive.with_name(f".{archive.name}.unpacked")


_TEMPLATE = """
<div class='slot'>
  <b class='label'>{label}</b>
  <div class='area'>
    <p class='hint'>{hint}</p>
    <p class='buttons'><button class='choose-files'>Choose photos …</button>
      <button class='choose-folder'>Choose a folder …</button></p>
    <input class='files' type='file' multiple accept='{accept}' tabindex='-1' aria-label='{label}: photos'>
    <input class='folder' type='file' webkitdirectory tabindex='-1' aria-label='{label}: folder'>
  </div>
  <div class='sending' hidden><div class='track'><div class='done'></div></div>
    <span></span> <button class='stop'>Stop</button></div>
  <p class='problem' role='alert' hidden></p>
  <div class='content' hidden><span class='said'></span> <button class='empty'>Remove all</button>
    <p class='left-out'></p>
    <details><summary>Show and remove</summary><ul></ul></details></div>
</div>"""
