"""The judge of a model file that may be replaced while it is in use."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from ulsad.detector.prediction import Prediction
from ulsad.line.judge import Judge, stamp_of
from ulsad.runs import scored


@dataclass
class CurrentJudge:
    """Holds a judge, and loads the file again once it has changed and is whole."""

    model: Path
    load: Callable[[], Judge]  # from the file
    logs_days: bool = False  # whether the app shall compare the days of the photos that are judged
    judge: Judge = field(init=False)
    _stamp: tuple[int, int, int] | None = field(init=False)

    def __post_init__(self) -> None:
        """Raises `InputError` if the file is no model."""
        self._stamp = stamp_of(self.model)
        self.judge = self.load()

    def log_day(self, predictions: Iterable[Prediction]) -> None:
        """Log photos beside the model, for the app's Days, if they are to be."""
        if self.logs_days:
            scored.beside(self.model).append(scored.today(self.judge.own, predictions))

    def renew(self) -> str:
        """Load the file if it was replaced. What to tell the operator; "" if nothing has happened.

        A file that is gone or can't be loaded changes nothing: the judge stays.
        """
        now = stamp_of(self.model)
        if now == self._stamp:
            return ""
        self._stamp, before = now, self.judge.basis
        if now is None:
            return f"{self.model} is gone. The model that was loaded stays in use."
        try:
            self.judge = self.load()
        except Exception as error:  # whatever it is: the judge that is there goes on
            return (f"{self.model} was replaced, but can't be used: {error} The model from before stays in "
                    "use.")
        if self.judge.basis == before:
            return ""
        return (f"{self.model} was replaced. From now on its new version judges "
                f"(SHA-256 {self.judge.basis.model_sha256[:12]}…, before {before.model_sha256[:12]}…).")
