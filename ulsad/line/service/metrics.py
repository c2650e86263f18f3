"""What a service counts, in the text format of Prometheus 0.0.4."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
BOUNDS = (0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)  # seconds

Labels = tuple[tuple[str, str], ...]


@dataclass
class Metrics:
    """Counts from one thread."""

    answers: Counter[int] = field(default_factory=Counter)  # by HTTP status
    verdicts: Counter[tuple[str, str]] = field(default_factory=Counter)  # by model and verdict
    _seconds: Counter[int] = field(default_factory=Counter)  # by the index of the bound above
    _total: float = 0.0

    def took(self, seconds: float) -> None:
        """A photo has its verdict so long after its request began."""
        self._seconds[bisect_left(BOUNDS, seconds)] += 1
        self._total += seconds

    def text(self, waiting: int, models: Mapping[str, str]) -> str:
        """With the requests that are at hand now, and the SHA-256 of each model by its name."""
        return "".join(f"{line}\n" for line in self._lines(waiting, models))

    def _lines(self, waiting: int, models: Mapping[str, str]) -> Iterator[str]:
        yield from _metric("ulsad_answers_total", "counter", "Requests answered, by HTTP status.", {
            (("status", str(status)),): number for status, number in sorted(self.answers.items())})
        yield from _metric("ulsad_verdicts_total", "counter", "Photos judged, by model and verdict.", {
            (("model", model), ("verdict", verdict)): number
            for (model, verdict), number in sorted(self.verdicts.items())})
        yield from _metric("ulsad_requests_at_hand", "gauge", "Photos that are received or judged now.",
                           {(): waiting})
        yield from _metric("ulsad_model_info", "gauge", "1 for every model in use.", {
            (("model", model), ("sha256", sha256)): 1 for model, sha256 in models.items()})
        yield from self._histogram("ulsad_score_seconds")

    def _histogram(self, name: str) -> Iterator[str]:
        yield from _head(name, "histogram", "Seconds from a request's beginning to its verdict.")
        so_far = 0
        for i, bound in enumerate(map(str, (*BOUNDS, "+Inf"))):
            so_far += self._seconds[i]
            yield _sample(f"{name}_bucket", (("le", bound),), so_far)
        yield _sample(f"{name}_sum", (), self._total)
        yield _sample(f"{name}_count", (), so_far)


def _metric(name: str, kind: str, purpose: str, values: Mapping[Labels, float]) -> Iterator[str]:
    yield from _head(name, kind, purpose)
    for labels, value in values.items():
        yield _sample(name, labels, value)


def _head(name: str, kind: str, purpose: str) -> Iterator[str]:
    yield f"# HELP {name} {purpose}"
    yield f"# TYPE {name} {kind}"


def _sample(name: str, labels: Labels, value: float) -> str:
    shown = ",".join(f'{label}="{_escaped(of)}"' for label, of in labels)
    return f"{name}{{{shown}}} {value}" if shown else f"{name} {value}"


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
