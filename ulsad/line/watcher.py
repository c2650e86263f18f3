"""Watch a folder: judge every photo that arrives, once, and put it where its verdict says."""

from __future__ import annotations

import math
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event

from ulsad.detector.prediction import Prediction
from ulsad.line.arrivals import Arrival, Arrivals
from ulsad.line.audit import note_basis
from ulsad.line.current import CurrentJudge
from ulsad.line.journal import Entry, Journal, is_still
from ulsad.line.judge import Judge
from ulsad.line.verdict import Verdict
from ulsad.photos.images import Skipped

TOGETHER = 8  # photos that are judged before their verdicts are written down
LOOKING = 4  # times as long as a look takes is the least pause after it, however many photos there are
AGAIN = 2.0  # seconds between two attempts at something that the disk or the network refused

Draw = Callable[[Judge, Prediction, Path], None]


@dataclass
class Watcher:
    """One folder, the journal of its results, and who judges.

    `on_verdict` is called for every verdict that is written down, `say` with what the operator should know.
    Once `stopping` is set, the photos at hand are finished.
    """

    current: CurrentJudge
    folder: Path
    journal: Journal
    moves: bool
    arrivals: Arrivals
    interval: float  # seconds between two looks
    patience: float  # seconds that a file that can't be read may stay as it is before it counts as unreadable
    most_a_second: float = math.inf
    draw: Draw | None = None  # writes a picture of the maps
    on_verdict: Callable[[Verdict], None] = lambda verdict: None
    say: Callable[[str], None] = lambda text: None
    stopping: Event = field(default_factory=Event)
    tally: Counter[str] = field(default_factory=Counter)
    _look_took: float = 0.0  # seconds

    def run(self, once: bool = False) -> None:
        """Until `stopping` is set; or `once`, until every photo that was there has its verdict."""
        self._write(self.journal.finish)
        while not self.stopping.is_set():
            ready = self._ready()
            waiting = 0
            for start in range(0, len(ready), self._together):
                if self.stopping.is_set():
                    break
                waiting += self._judge(ready[start:start + self._together])
            if once and not waiting and not self.arrivals.are_settling:
                break
            self.stopping.wait(max(self.interval, LOOKING * self._look_took))

    @property
    def _together(self) -> int:
        return max(1, int(min(TOGETHER, self.most_a_second)))

    def _ready(self) -> list[Arrival]:
        """The complete photos without a verdict. While the folder can't be read, waits for it."""
        ready: list[Arrival] = []

        def look() -> None:
            began = time.monotonic()
            ready[:] = [arrival for arrival in self.arrivals.look() if not self.journal.knows(arrival)]
            self._look_took = time.monotonic() - began

        self._try(look, f"{self.folder} can't be read")
        return ready

    def _judge(self, arrivals: Sequence[Arrival]) -> int:
        """Judge some photos; how many have to wait, because they can't be read yet."""
        began, waiting = time.monotonic(), 0
        if told := self.current.renew():
            self.say(told)
        judge = self.current.judge
        places = {self.folder / arrival.name: arrival for arrival in arrivals}
        judged: list[tuple[Arrival, Verdict]] = []
        maps: list[Prediction | None] = []
        results = judge.verdicts({place: arrival.name for place, arrival in places.items()})
        for (place, arrival), result in zip(places.items(), results, strict=True):
            if not is_still(place, arrival):  # it went away, or somebody goes on writing
                if not place.exists():
                    self.say(f"{arrival.name} went away before it could be judged.")
                continue
            if isinstance(result, Skipped):
                if self.arrivals.unchanged_for(arrival) < self.patience:
                    waiting += 1  # perhaps somebody goes on writing
                    continue
                judged.append((arrival, judge.unreadable(result, arrival.name)))
                maps.append(None)
            else:
                judged.append((arrival, result[0]))
                maps.append(result[1])
        self._keep(judged, maps)
        self.stopping.wait(len(judged) / self.most_a_second - (time.monotonic() - began))
        return waiting

    def _keep(self, judged: list[tuple[Arrival, Verdict]], maps: list[Prediction | None]) -> None:
        if not judged:
            return
        entries, basis = self.journal.planned(judged, self.moves), self.current.judge.basis

        def enter() -> None:
            note_basis(self.journal.folder, basis)
            self._draw(entries, maps)
            self.journal.enter(entries, basis)

        if self._write(enter) and self._write(self.journal.finish):
            self.current.log_day(prediction for prediction in maps if prediction)
            for entry in entries:
                self.tally[entry.verdict.verdict] += 1
                self.on_verdict(entry.verdict)

    def _draw(self, entries: Sequence[Entry], maps: Sequence[Prediction | None]) -> None:
        """Before the verdict is written down, as afterwards nothing would draw it again."""
        for entry, prediction in zip(entries, maps, strict=True):
            if self.draw and prediction:
                file = self.journal.folder / f"{entry.json.removesuffix('.json')}.png"
                file.parent.mkdir(parents=True, exist_ok=True)
                self.draw(self.current.judge, prediction, file)

    def _write(self, action: Callable[[], None]) -> bool:
        return self._try(action, f"{self.journal.folder} can't be written, or a photo not moved")

    def _try(self, action: Callable[[], None], trouble: str) -> bool:
        """Do something, again and again while the disk or the network refuses it; false if told to stop."""
        told = False
        while True:
            try:
                action()
            except (OSError, sqlite3.OperationalError) as error:
                if not told:
                    self.say(f"{trouble} ({error}). Nothing is lost: it goes on by itself once that works.")
                told = True
                if self.stopping.wait(AGAIN):
                    return False
            else:
                if told:
                    self.say("It works again.")
                return True
