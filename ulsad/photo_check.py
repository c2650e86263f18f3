"""A look at the photos before a training starts: what is there, what is wrong with it, what must stop it."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, count
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ulsad.errors import InputError
from ulsad.images import Skipped, read_image
from ulsad.intake import GOOD_PARTS, HELD_OUT
from ulsad.preparation import MINIMUM_PHOTOS
from ulsad.rendering import fit_within

FEW_GOOD, FEW_HELD_OUT = 20, 19  # one good part in twenty exceeds the highest of 19 held-out scores
TINY, ELONGATED = 64, 4  # px of the shorter side; longer : shorter side

# Two photos are near duplicates when their grey 32 x 32 thumbnails differ by an RMS of less than NEAR grey
# levels and less than NEAR_CONTRAST of the thumbnail's own standard deviation. Measured on the good training
# photos of four screws (19), toy figures (38), magnetic tiles (240), and on 400 demo trays; in brackets the
# share of contrast:
#                                lowest          median          highest         found of 697
#   JPEG at quality 60           0.11 (0.003)    0.24 (0.007)    0.46 (0.038)    697
#   half the size                0.03 (0.001)    0.06 (0.002)    0.55 (0.024)    697
#   half the size, and back      0.03 (0.001)    0.04 (0.001)    0.54 (0.025)    697
#   1 % brighter                 0.69 (0.027)    1.39 (0.040)    1.91 (0.108)    2
#   shifted by 1 px              0.41 (0.018)    2.03 (0.059)    6.85 (0.245)    28
#   nearest other good photo     4.49 (0.127)    6.57 (0.189)    30.3 (1.952)    0
# The share is for dark photos: 12-bit values in 16-bit files bring different trays as near as 0.30 (0.149).
NEAR, NEAR_CONTRAST = 0.8, 0.05
NEAR_CAP = 5000  # photos; the comparisons grow with their square

_SIDE, _CHUNK = 32, 256
_SHOWN, _COLUMNS = 12, 6
_PICTURE, _GAP, _CAPTION, _TITLE = 120, 12, 18, 34  # px
_WIDTH = _COLUMNS * (_PICTURE + _GAP) + _GAP


@dataclass(frozen=True)
class SlotReport:
    """What one slot holds; sizes and modes are those of the readable photos, the most frequent first."""

    name: str
    photos: int
    skipped: tuple[Skipped, ...]
    sizes: dict[tuple[int, int], int]  # (width, height), upright
    modes: dict[str, int]  # as Pillow names what is in the file: L, RGB, I;16, P, …

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
    """All slots in the order given; a photo is the `second` of at most one pair."""

    slots: tuple[SlotReport, ...]
    duplicates: tuple[Duplicates, ...]
    seconds_per_photo: float  # the median to read one; 0 when none could be read
    contact_sheet: Image.Image

    @property
    def refused(self) -> list[str]:
        """What must stop a training, in sentences for the user; [] when nothing does."""
        return [*_overlaps(self, exact=True), *_too_few(self)]

    def problems(self) -> list[str]:
        """All that the user should know, the gravest first: what is refused, then what can be put up with."""
        return [*self.refused, *_overlaps(self, exact=False), *_unreadable(self), *_few(self), *_copies(self),
                *_shapes(self), *_kinds(self), *_uncompared(self)]

    def pairs(self, one: str, other: str, exact: bool) -> list[Duplicates]:
        """The duplicates between two slots, or within one."""
        return [pair for pair in self.duplicates
                if {pair.first_slot, pair.second_slot} == {one, other} and pair.exact == exact]

    def usable(self, name: str) -> int:
        """How many readable photos a slot has, copies counted once; 0 if there is no such slot."""
        readable = sum(slot.readable for slot in self.slots if slot.name == name)
        return readable - len(self.pairs(name, name, exact=True))


class _Look(NamedTuple):
    """All that is kept of a photo."""

    path: Path
    slot: str
    seconds: float
    size: tuple[int, int]
    mode: str
    digest: bytes  # of size and RGB pixels
    grey: np.ndarray  # float32 (32, 32), 0 … 255
    picture: Image.Image | None  # for the contact sheet


def check(
    slots: dict[str, Sequence[Path]], on_photo: Callable[[int, int], None] = lambda done, total: None
) -> PhotoCheck:
    """Read every photo of the three slots of an `Intake` once; the latter two may be empty.

    Photos that can't be read are reported, not raised. `on_photo` hears how many of all are done, and what it
    raises ends the check. 5 KB are kept of each photo.
    """
    for step in checking(slots):
        if isinstance(step, PhotoCheck):
            return step
        on_photo(*step)
    raise AssertionError("a check ends with its result")


def checking(slots: dict[str, Sequence[Path]]) -> Iterator[tuple[int, int] | PhotoCheck]:
    """`check` photo by photo: how many are done and of how many, and the result last."""
    done, total = count(1), sum(map(len, slots.values()))
    seen: dict[str, list[_Look | Skipped]] = {slot: [] for slot in slots}
    for slot, paths in slots.items():
        shown = _evenly_spaced(len(paths))
        for i, path in enumerate(paths):
            seen[slot].append(_look(path, slot, i in shown))
            yield next(done), total
    looks = [item for items in seen.values() for item in items if isinstance(item, _Look)]
    yield PhotoCheck(tuple(_report(slot, items) for slot, items in seen.items()), tuple(_duplicates(looks)),
                      median([look.seconds for look in looks] or [0.0]), _contact_sheet(seen))


def _evenly_spaced(photos: int) -> list[int]:
    return np.linspace(0, photos - 1, min(_SHOWN, photos)).astype(int).tolist()


def _look(path: Path, slot: str, shown: bool) -> _Look | Skipped:
    started = perf_counter()
    try:
        photo = read_image(path)
    except InputError as error:
        return Skipped(path, str(error))
    seconds = perf_counter() - started
    with Image.open(path) as opened:
        mode = opened.mode
    digest = hashlib.sha256(f"{photo.size}".encode() + photo.tobytes()).digest()
    # in floating point: rounding to whole grey levels would be a third of NEAR
    grey = photo.convert("L").convert("F").resize((_SIDE, _SIDE), Image.Resampling.BILINEAR)
    return _Look(path, slot, seconds, photo.size, mode, digest, np.array(grey),
                 fit_within(photo, _PICTURE) if shown else None)


def _report(slot: str, items: list[_Look | Skipped]) -> SlotReport:
    looks = [item for item in items if isinstance(item, _Look)]
    return SlotReport(slot, len(items), tuple(item for item in items if isinstance(item, Skipped)),
                      _frequencies(look.size for look in looks), _frequencies(look.mode for look in looks))


def _frequencies(values: Iterable) -> dict:
    return dict(Counter(values).most_common())


def _duplicates(looks: list[_Look]) -> Iterator[Duplicates]:
    exact, near = _exact_twins(looks), _near_twins(looks)
    for second, first in sorted((near | exact).items()):
        a, b = looks[first], looks[second]
        yield Duplicates(a.path, a.slot, b.path, b.slot, second in exact)


def _exact_twins(looks: list[_Look]) -> dict[int, int]:
    """Index of a photo → index of the first one with the same pixels."""
    first: dict[bytes, int] = {}
    twins = {i: first.setdefault(look.digest, i) for i, look in enumerate(looks)}
    return {second: first for second, first in twins.items() if second != first}


def _near_twins(looks: list[_Look]) -> dict[int, int]:
    """Index of a photo → index of the nearest earlier one, where that is near."""
    if len(looks) < 2:
        return {}
    indices, twins = _compared(looks), {}
    greys = np.stack([looks[i].grey.ravel() for i in indices])
    limits = np.minimum(NEAR, NEAR_CONTRAST * greys.std(axis=1))
    greys -= greys.mean(axis=0)  # small numbers, so that a² + b² - 2ab keeps its digits in float32
    squares = np.square(greys).mean(axis=1)
    for start in range(0, len(greys), _CHUNK):
        rows = np.arange(start, min(start + _CHUNK, len(greys)))
        earlier = np.arange(rows[-1] + 1)
        distances = squares[rows, None] + squares[earlier] - 2 * (greys[rows] @ greys[earlier].T) / _SIDE**2
        distances[earlier >= rows[:, None]] = np.inf
        near = np.sqrt(distances.min(axis=1).clip(0)) < limits[rows]
        twins |= {indices[row]: indices[column]
                  for row, column in zip(rows[near], distances[near].argmin(axis=1))}
    return twins


def _compared(looks: list[_Look]) -> list[int]:
    """At most `NEAR_CAP` photos, those of the smaller slots first: there an overlap does most harm."""
    photos = Counter(look.slot for look in looks)
    smaller_first = sorted(range(len(looks)), key=lambda i: photos[looks[i].slot])
    return sorted(smaller_first[:NEAR_CAP])


def _overlaps(check: PhotoCheck, exact: bool) -> Iterator[str]:
    for one, other in combinations([slot.name for slot in check.slots], 2):
        pairs = check.pairs(one, other, exact)
        if pairs:
            harm = ("the threshold would be too low" if {one, other} == {GOOD_PARTS, HELD_OUT} else
                    "the test would be wrong" if exact else "look whether a defect tells them apart")
            yield (f"{_are(len(pairs), 'photo')} {'' if exact else 'almost '}the same picture in {one} and "
                   f"in {other} ({_example(pairs)}): {harm}. Take copies out of the slot where they are "
                   "wrong.")


def _too_few(check: PhotoCheck) -> Iterator[str]:
    good, held_out = check.usable(GOOD_PARTS), check.usable(HELD_OUT)
    if good < MINIMUM_PHOTOS:
        yield (f"Too few good parts: {good} can be read and show different pictures. At least "
               f"{MINIMUM_PHOTOS} are needed, and {FEW_GOOD} or more to be useful. Add photos.")
    if held_out < 2 and any(slot.photos for slot in check.slots if slot.name == HELD_OUT):
        yield (f"Too few held-out good parts: {held_out} can be read and show different pictures. At least 2 "
               "are needed. Add photos, or leave the slot empty: then some of the good parts are held out.")


def _few(check: PhotoCheck) -> Iterator[str]:
    good, held_out = check.usable(GOOD_PARTS), check.usable(HELD_OUT)
    if MINIMUM_PHOTOS <= good < FEW_GOOD:
        yield (f"{good} good parts are few: whatever they do not show will look strange. Add photos, up to "
               f"{FEW_GOOD} or more, with every variation that you accept.")
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


def _copies(check: PhotoCheck) -> Iterator[str]:
    for slot in check.slots:
        exact, near = (check.pairs(slot.name, slot.name, exact) for exact in (True, False))
        if exact:
            yield (f"{_are(len(exact), 'photo')} the same picture as another in {slot.name} "
                   f"({_example(exact)}). Copies add nothing to learn from or to test: leave them out.")
        if near:
            yield (f"{_are(len(near), 'photo')} almost the same picture as another in {slot.name} "
                   f"({_example(near)}). Copies add nothing to learn from, and one that is held out makes "
                   "the threshold too low: keep one of each.")


def _shapes(check: PhotoCheck) -> Iterator[str]:
    sizes = sum((Counter(slot.sizes) for slot in check.slots), Counter())
    if len(sizes) > 1:
        most = ", ".join(f"{n} of {_by(size)}" for size, n in sizes.most_common(4))
        yield (f"Photos have {len(sizes)} different sizes: {most}{', …' if len(sizes) > 4 else ''}. All are "
               "scaled to the same square: take and crop them alike, unless the parts vary in size.")
    tiny = {size: n for size, n in sizes.items() if min(size) < TINY}
    if tiny:
        yield (f"{_are(sum(tiny.values()), 'photo')} less than {TINY} px wide or high ({_by(min(tiny))}, "
               "for one): too little to see a small defect. Give larger ones.")
    long = {size: n for size, n in sizes.items() if max(size) > ELONGATED * min(size)}
    if long:
        yield (f"{_are(sum(long.values()), 'photo')} more than {ELONGATED} times as long as wide "
               f"({_by(min(long))}, for one). A square is made of each, which loses detail along its longer "
               "side: cut such photos into pieces.")


def _kinds(check: PhotoCheck) -> Iterator[str]:
    kinds = Counter(_kind(mode) for slot in check.slots for mode in Counter(slot.modes).elements())
    if len(kinds) > 1:
        mixed = " and ".join(f"{n} {kind}" for kind, n in kinds.most_common())
        yield (f"Photos are mixed, {mixed}: a model takes that for a difference between parts. Save all of "
               "them alike.")


def _kind(mode: str) -> str:
    return "16-bit grey" if mode.startswith("I") else "grey" if mode in ("1", "L", "LA") else "colour"


def _uncompared(check: PhotoCheck) -> Iterator[str]:
    readable = sum(slot.readable for slot in check.slots)
    if readable > NEAR_CAP:
        yield (f"Only {NEAR_CAP:,} of {readable:,} photos were searched for near copies, all of them for "
               "exact ones. Take out photos that were saved twice.")


def _are(number: int, noun: str) -> str:
    return f"1 {noun} is" if number == 1 else f"{number:,} {noun}s are"


def _example(pairs: list[Duplicates]) -> str:
    second, first = _name(pairs[0].second), _name(pairs[0].first)
    if first == second:
        second, first = (f"{_name(path.parent)}/{_name(path)}" for path in (pairs[0].second, pairs[0].first))
    return f"{second} and {first}{', for one' if len(pairs) > 1 else ''}"


def _by(size: tuple[int, int]) -> str:
    return f"{size[0]} x {size[1]}"


def _name(path: Path) -> str:
    """A file's name as text that can be printed, even if its bytes are not UTF-8."""
    return "".join(letter if letter.isprintable() else "?" for letter in path.name)


def _contact_sheet(seen: dict[str, list[_Look | Skipped]]) -> Image.Image:
    """At most twelve photos of each slot under its title, with their file names."""
    bands = []
    for slot, items in seen.items():
        shown = [items[i] for i in _evenly_spaced(len(items))]
        some = f"{len(shown)} of " if len(shown) < len(items) else ""
        bands.append(_band(f"{slot}: {some}{len(items):,}", shown))
    sheet = Image.new("RGB", (_WIDTH, sum(band.height for band in bands) + _GAP), "white")
    for i, band in enumerate(bands):
        sheet.paste(band, (0, sum(above.height for above in bands[:i])))
    return sheet


def _band(title: str, items: list[_Look | Skipped]) -> Image.Image:
    tallest = max((item.picture.height for item in items if isinstance(item, _Look)), default=_CAPTION)
    row, rows = tallest + _CAPTION + _GAP, -(-len(items) // _COLUMNS)
    band = Image.new("RGB", (_WIDTH, _TITLE + rows * row), "white")
    draw, small = ImageDraw.Draw(band), ImageFont.load_default(11)
    draw.text((_GAP, 10), title, "black", ImageFont.load_default(15))
    for i, item in enumerate(items):
        x = _GAP + i % _COLUMNS * (_PICTURE + _GAP) + _PICTURE // 2
        bottom = _TITLE + i // _COLUMNS * row + tallest
        if isinstance(item, _Look):
            width, height = item.picture.size
            band.paste(item.picture, (x - width // 2, bottom - height))
        else:
            draw.text((x, bottom), "can't be read", (176, 32, 32), small, "md")
        draw.text((x, bottom + 4), _shortened(_name(item.path), small), (90, 90, 90), small, "ma")
    return band


def _shortened(name: str, font: ImageFont.FreeTypeFont) -> str:
    """As much of a name as fits under a picture; its middle gives way."""
    shortened, kept = name, len(name)
    while font.getlength(shortened) > _PICTURE:
        kept -= 1
        shortened = f"{name[:kept - kept // 2]}…{name[len(name) - kept // 2:]}"
    return shortened
