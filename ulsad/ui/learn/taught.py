"""What a visitor looks at in Learn, and the lesson for it, from bounded caches."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from ulsad.attention import stages
from ulsad.attention.additions import PAPERS, without
from ulsad.attention.lesson import ERASED, SCRATCHED, Lesson, spoiled, teach
from ulsad.attention.stages import Stages
from ulsad.attention.variants import VARIANTS, WHOLE
from ulsad.detector.detector import Ulsad
from ulsad.errors import InputError
from ulsad.photos.probe import Point
from ulsad.ui import library

ALONE, BESIDE_SCRATCHED, BESIDE_ERASED = ("alone", "beside a copy with a scratch",
                                          "beside a copy with a part erased")
SPOILING = {BESIDE_SCRATCHED: SCRATCHED, BESIDE_ERASED: ERASED}
FOLDER = library.ASSETS / "lesson"


class Way(NamedTuple):
    """Through which networks a photo goes."""

    variant: str = ""  # the name of a small model of the demo's tray; "": the model in the header
    stage: int | None = None  # index in `stages.STEPS`, of the variant that one can watch; None: trained
    left_out: frozenset[str] = frozenset()  # additions that the header's model goes without

    @classmethod
    def chosen(cls, model: str, variant: object, stage: object, left_out: object) -> Way:
        """As a browser asks for it. Raises `InputError` where there is no such thing."""
        names = left_out if isinstance(left_out, list) else []
        known = ("", *(each.name for each in VARIANTS))
        if variant not in known or not all(name in list(PAPERS) for name in names):
            raise InputError("There is no such choice. Reload the page.")
        if variant == "" or model != library.DEMO:
            return cls(left_out=frozenset(names))
        is_stage = variant == WHOLE.name and type(stage) is int and 0 <= stage < len(stages.STEPS) - 1
        return cls(str(variant), stage if is_stage else None)  # type: ignore[arg-type]


class Taught(NamedTuple):
    """What goes through the steps, and how."""

    model: str
    path: str
    name: str  # of the photo in the list
    beside: str  # `ALONE`, or a key of `SPOILING`
    spoiled_at: Point
    way: Way = Way()
    levels: tuple[float, float] | None = None  # α and β; None: the model's

    @property
    def spoiling(self) -> tuple[str, Point] | None:
        """How and where a copy is damaged; None if the photo goes alone."""
        return (SPOILING[self.beside], self.spoiled_at) if self.beside in SPOILING else None


def lessons(taught: Taught, models_dir: Path) -> list[Lesson]:
    """The photo's, and that of its spoiled copy if it goes beside one.

    Raises `InputError` when model or photo can't be read.
    """
    detector = _detector(taught.model, taught.way, models_dir)
    copies = [None, taught.spoiling] if taught.spoiling else [None]
    found = [_lesson(detector, taught.path, library.version(taught.path), spoiling) for spoiling in copies]
    return found if taught.levels is None else [lesson.at_levels(*taught.levels) for lesson in found]


def learning() -> Stages:
    """The small model while it learns."""
    return stages.read(FOLDER / "stages.safetensors")


def _detector(model: str, way: Way, models_dir: Path) -> Ulsad:
    if not way.variant:
        return _bare(library.detector(model, models_dir), way.left_out)
    variant = next(known for known in VARIANTS if known.name == way.variant)
    trained = library.loaded(variant.file(FOLDER), models_dir)
    return trained if way.stage is None else _at_stage(trained, way.stage)


@lru_cache(maxsize=4)
def _bare(detector: Ulsad, left_out: frozenset[str]) -> Ulsad:
    return without(detector, left_out)


@lru_cache(maxsize=len(stages.STEPS))  # half a MB each
def _at_stage(trained: Ulsad, stage: int) -> Ulsad:
    return learning().detector(stage, trained)


@lru_cache(maxsize=16)  # several MB each, plus the detectors that they keep alive
def _lesson(detector: Ulsad, path: str, version: int, spoiling: tuple[str, Point] | None) -> Lesson:
    if not spoiling:
        return teach(detector, Path(path))
    return teach(detector, spoiled(library.photo(path, detector.config.white_level), *spoiling))
