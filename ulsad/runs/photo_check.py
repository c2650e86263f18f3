"""Check the photos before training: what is there, what is wrong, and what makes training impossible."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, count
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import NamedTuple

import numpy as np
from PIL import Image

from ulsad.detector.photo_sets import MINIMUM_PHOTOS
from ulsad.detector.rendering import fit_within
from ulsad.errors import InputError
from ulsad.method.config import Config
from ulsad.photos import depth
from ulsad.photos.contact_sheet import PICTURE, Shown, contact_sheet, evenly_spaced
from ulsad.photos.images import Skipped, read_photo
from ulsad.photos.intake import GOOD_PARTS, HELD_OUT
from ulsad.photos.twins import NEAR_CAP, SIDE, exact_twins, near_twins

FEW_GOOD, FEW_HELD_OUT = 20, 19  # one good part in twenty exceeds the highest of 19 held-out scores
TINY, ELONGATED = 64, 4  # px of the shorter side; longer : shorter side



@dataclass(frozen=True)
class SlotReport:
    """What one slot holds; sizes and modes of the readable photos, most frequent first."""

    name: str
    photos: int
    skipped: tuple[Skipped, ...]
    sizes: dict[tuple[int, int], int]  # (width, height), upright
    modes: dict[str, int]  # of the files, see `images.Reading`
    notes: tuple[tuple[Path, str], ...] = ()  # on readable photos, see `images.Reading`

    @property
    def readable(self) -> int:
        return self.photos - len(self.skipped)


class Duplicates(NamedTuple):
    """Two photos with equal pixels (exact), or nearly so; the second comes later."""

    first: Path
    first_slot: str
    second: Path
    second_slot: str
    exact: bool


@dataclass(frozen=True)
class PhotoCheck:
    """The result for all slots in the order given; a photo is the `second` of at most one pair."""

    slots: tuple[SlotReport, ...]
    duplicates: tuple[Duplicates, ...]
    seconds_per_photo: float  # median reading time; 0 if no photo could be read
    contact_sheet: Image.Image
    white: depth.White | None = None  # white level of the good parts, found or given; None: all have 8 bits
    white_unknown: tuple[str, ...] = ()  # why no white level was found

    @property
    def refused(self) -> list[str]:
        """Sentences for the user on what makes training impossible; [] if nothing does."""
        return [*self.white_unknown, *_overlaps(self, exact=True), *_too_few(self)]

    def problems(self) -> list[str]:
        """Everything the user should know, most serious first: what is refused, then warnings."""
        return [*self.refused, *_overlaps(self, exact=False), *_unreadable(self), *_noted(self),
                *_few(self), *_copies(self), *_shapes(self), *_white(self), *_kinds(self), *_uncompared(self)]

    def pairs(self, one: str, other: str, exact: bool) -> list[Duplicates]:
        """The duplicates between two slots, or within one slot."""
        return [pair for pair in self.duplicates
                if {pair.first_slot, pair.second_slot} == {one, other} and pair.exact == exact]

    def usable(self, name: str) -> int:
        """Number of readable photos in a slot, copies counted once; 0 if there is no such slot."""
        readable = sum(slot.readable for slot in self.slots if slot.name == name)
        return readable - len(self.pairs(name, name, exact=True))


class _Look(NamedTuple):
    """What is kept of a photo."""

    path: Path
    slot: str
    seconds: float
    size: tuple[int, int]
    mode: str
    digest: bytes  # of size and RGB pixels
    grey: np.ndarray  # float32 (32, 32), 0 … 255
    picture: Image.Image | None  # for the contact sheet
    notes: tuple[str, ...]


def check(slots: Mapping[str, Sequence[Path]], white_level: float | None = None) -> PhotoCheck:
    """Read every photo of an `Intake`'s slots. Without `white_level`, first read the photos with more than
    8 bits to find the white level as training does.

    Unreadable photos are reported, not raised. 5 KB are kept per photo.
    """
    *_, result = checking(slots, white_level)
    assert isinstance(result, PhotoCheck)  # the last item
    return result


def checking(
    slots: Mapping[str, Sequence[Path]], white_level: float | None = None
) -> Iterator[tuple[int, int] | PhotoCheck]:
    """`check` step by step: yield (done, total) after each photo, and finally the result."""
    done, total = count(1), sum(map(len, slots.values()))
    good: list[depth.Seen] = []
    for path in (*slots.get(GOOD_PARTS, ()), *slots.get(HELD_OUT, ())) if white_level is None else ():
        if found := depth.look(path):
            good.append(found)
            yield 0, total
    white, unknown = _white_of(good)
    white_level = white.level if white else white_level
    seen: dict[str, list[_Look | Skipped]] = {slot: [] for slot in slots}
    for slot, paths in slots.items():
        shown = evenly_spaced(len(paths))
        for i, path in enumerate(paths):
            seen[slot].append(_look(path, slot, i in shown, white_level))
            yield next(done), total
    looks = [item for items in seen.values() for item in items if isinstance(item, _Look)]
    yield PhotoCheck(tuple(_report(slot, items) for slot, items in seen.items()), tuple(_duplicates(looks)),
                     median([look.seconds for look in looks] or [0.0]), _contact_sheet(seen),
                     white or _as_set(white_level, looks), unknown)


def _white_of(photos: list[depth.Seen]) -> tuple[depth.White | None, tuple[str, ...]]:
    """The white level, or why it can't be determined."""
    try:
        return depth.white_of_set(photos), ()
    except InputError as error:
        return None, (str(error),)


def _look(path: Path, slot: str, shown: bool, white_level: float | None) -> _Look | Skipped:
    started = perf_counter()
    try:
        photo, notes, mode, _, size = read_photo(path, white_level, Config().decoded_side)
    except InputError as error:
        return Skipped(path, str(error))
    seconds = perf_counter() - started
    digest = hashlib.sha256(f"{size}".encode() + photo.tobytes()).digest()
    # in floating point, as rounding to whole grey levels would cost a third of NEAR
    grey = photo.convert("L").convert("F").resize((SIDE, SIDE), Image.Resampling.BILINEAR)
    return _Look(path, slot, seconds, size[::-1], mode, digest, np.array(grey),
                 fit_within(photo, PICTURE) if shown else None, notes)


def _as_set(white_level: float | None, looks: list[_Look]) -> depth.White | None:
    deep = sum(_is_deep(look.mode) for look in looks)
    return depth.White(white_level, deep, depth.SET) if white_level is not None and deep else None


def _report(slot: str, items: list[_Look | Skipped]) -> SlotReport:
    looks = [item for item in items if isinstance(item, _Look)]
    return SlotReport(slot, len(items), tuple(item for item in items if isinstance(item, Skipped)),
                      _frequencies(look.size for look in looks), _frequencies(look.mode for look in looks),
                      tuple((look.path, note) for look in looks for note in look.notes))


def _frequencies(values: Iterable) -> dict:
    return dict(Counter(values).most_common())


def _duplicates(looks: list[_Look]) -> Iterator[Duplicates]:
    exact = exact_twins([look.digest for look in looks])
    near = near_twins([look.grey for look in looks], [look.slot for look in looks])
    for second, first in sorted((near | exact).items()):
        a, b = looks[first], looks[second]
        yield Duplicates(a.path, a.slot, b.path, b.slot, second in exact)


def _contact_sheet(seen: dict[str, list[_Look | Skipped]]) -> Image.Image:
    bands = {}
    for slot, items in seen.items():
        shown = [items[i] for i in evenly_spaced(len(items))]
        some = f"{len(shown)} of " if len(shown) < len(items) else ""
        bands[f"{slot}: {some}{len(items):,}"] = [
            Shown(_name(item.path), item.picture if isinstance(item, _Look) else None) for item in shown]
    return contact_sheet(bands)


def _overlaps(check: PhotoCheck, exact: bool) -> Iterator[str]:
    for one, other in combinations([slot.name for slot in check.slots], 2):
        pairs = check.pairs(one, other, exact)
        if pairs:
            harm = ("the threshold would be too low" if {one, other} == {GOOD_PARTS, HELD_OUT} else
                    "the test would be wrong" if exact else "check whether only one shows a defect")
            yield (f"{_are(len(pairs), 'photo')} {'' if exact else 'almost '}the same picture in {one} and "
                   f"in {other} ({_example(pairs)}): {harm}. Remove the copies from the slot where they do "
                   "not belong.")


def _too_few(check: PhotoCheck) -> Iterator[str]:
    good, held_out = check.usable(GOOD_PARTS), check.usable(HELD_OUT)
    if good < MINIMUM_PHOTOS:
        yield (f"Too few good parts: {good} readable, not counting copies. At least {MINIMUM_PHOTOS} are "
               f"needed, and {FEW_GOOD} or more for a useful model. Add photos.")
    if held_out < 2 and any(slot.photos for slot in check.slots if slot.name == HELD_OUT):
        yield (f"Too few held-out good parts: {held_out} readable, not counting copies. At least 2 are "
               "needed. Add photos, or leave the slot empty: then good parts are held out.")


def _few(check: PhotoCheck) -> Iterator[str]:
    good, held_out = check.usable(GOOD_PARTS), check.usable(HELD_OUT)
    if MINIMUM_PHOTOS <= good < FEW_GOOD:
        yield (f"{good} good parts are few: any variation missing from them will look like a defect. Add "
               f"photos, up to {FEW_GOOD} or more, with every variation that you accept.")
    if 2 <= held_out < FEW_HELD_OUT:
        yield (f"{held_out} held-out good parts are few: with fewer than {FEW_HELD_OUT} a threshold for 5 % "
               "false rejects is an extrapolation. Hold out more before you trust it.")


def _unreadable(check: PhotoCheck) -> Iterator[str]:
    for slot in check.slots:
        if slot.skipped:
            reasons = " ".join(item.reason.replace(str(item.path), _name(item.path))
                               for item in slot.skipped[:3])
            more = f" And {len(slot.skipped) - 3} more." if len(slot.skipped) > 3 else ""
            yield (f"{len(slot.skipped)} of {slot.photos} {slot.name} can't be read and will be left out: "
                   f"{reasons}{more}")


def _noted(check: PhotoCheck) -> Iterator[str]:
    for slot in check.slots:
        if slot.notes:
            some = " ".join(f"{_name(path)}: {note}" for path, note in slot.notes[:3])
            more = f" And {len(slot.notes) - 3} more." if len(slot.notes) > 3 else ""
            remarks = "1 remark" if len(slot.notes) == 1 else f"{len(slot.notes):,} remarks"
            yield f"{remarks} on {slot.name}: {some}{more}"


def _copies(check: PhotoCheck) -> Iterator[str]:
    for slot in check.slots:
        exact, near = (check.pairs(slot.name, slot.name, exact) for exact in (True, False))
        if exact:
            yield (f"{_are(len(exact), 'photo')} the same picture as another in {slot.name} "
                   f"({_example(exact)}). Copies add nothing to training or testing: remove them.")
        if near:
            yield (f"{_are(len(near), 'photo')} almost the same picture as another in {slot.name} "
                   f"({_example(near)}). Copies add nothing to training, and a held-out copy makes the "
                   "threshold too low: keep one of each.")


def _shapes(check: PhotoCheck) -> Iterator[str]:
    sizes = sum((Counter(slot.sizes) for slot in check.slots), Counter())
    if len(sizes) > 1:
        most = ", ".join(f"{n} of {_by(size)}" for size, n in sizes.most_common(4))
        yield (f"Photos have {len(sizes)} different sizes: {most}{', …' if len(sizes) > 4 else ''}. All are "
               "scaled to the same square: take and crop them all in the same way, unless the parts vary in "
               "size.")
    tiny = {size: n for size, n in sizes.items() if min(size) < TINY}
    if tiny:
        yield (f"{_are(sum(tiny.values()), 'photo')} less than {TINY} px wide or high ({_by(min(tiny))}, "
               "for example): too small to show a small defect. Use larger photos.")
    long = {size: n for size, n in sizes.items() if max(size) > ELONGATED * min(size)}
    if long:
        yield (f"{_are(sum(long.values()), 'photo')} more than {ELONGATED} times as long as wide "
               f"({_by(min(long))}, for example). Each is scaled to a square, which loses detail along the "
               "longer side: cut such photos into pieces.")


def _white(check: PhotoCheck) -> Iterator[str]:
    if check.white:
        yield str(check.white)


def _kinds(check: PhotoCheck) -> Iterator[str]:
    kinds = Counter(_kind(mode) for slot in check.slots for mode in Counter(slot.modes).elements())
    if len(kinds) > 1:
        mixed = " and ".join(f"{n} {kind}" for kind, n in kinds.most_common())
        yield (f"Photos are mixed, {mixed}: a model takes that for a difference between parts. Save all in "
               "the same format.")


def _kind(mode: str) -> str:
    grey = mode[0] in "IF" or mode in ("1", "L", "LA")
    return f"{'grey' if grey else 'colour'}{' of more than 8 bits' if _is_deep(mode) else ''}"


def _is_deep(mode: str) -> bool:
    """Whether the mode of a `Reading` has more than 8 bits."""
    return mode[0] in "IF" or mode.endswith(";16")


def _uncompared(check: PhotoCheck) -> Iterator[str]:
    readable = sum(slot.readable for slot in check.slots)
    if readable > NEAR_CAP:
        yield (f"Only {NEAR_CAP:,} of {readable:,} photos were searched for near copies; all were searched "
               "for exact copies. Remove photos that were saved twice.")


def _are(number: int, noun: str) -> str:
    return f"1 {noun} is" if number == 1 else f"{number:,} {noun}s are"


def _example(pairs: list[Duplicates]) -> str:
    second, first = _name(pairs[0].second), _name(pairs[0].first)
    if first == second:
        second, first = (f"{_name(path.parent)}/{_name(path)}" for path in (pairs[0].second, pairs[0].first))
    return f"{second} and {first}{', for example' if len(pairs) > 1 else ''}"


def _by(size: tuple[int, int]) -> str:
    return f"{size[0]} x {size[1]}"


def _name(path: Path) -> str:
    """A file's name as printable text, even if its bytes are not UTF-8."""
    return "".join(letter if letter.isprintable() else "?" for letter in path.name)
