"""Figures: measured spans with the processor time they cost, percentiles, medians over rounds."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_TICK = os.sysconf("SC_CLK_TCK")


def processor_seconds(pid: int) -> float:
    """Processor time of a process so far, all its threads, user and system; its ended children not."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICK


@dataclass(frozen=True, slots=True)
class Sample:
    """One figure of one round."""

    value: float
    server_us: float | None = None  # processor time of the server for each job
    store_us: float | None = None  # and of Redis


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure over all rounds."""

    name: str
    unit: str
    samples: Sequence[Sample]

    @property
    def median(self) -> float:
        return statistics.median(sample.value for sample in self.samples)

    @property
    def range(self) -> tuple[float, float]:
        values = [sample.value for sample in self.samples]
        return min(values), max(values)

    def median_of(self, cost: Callable[[Sample], float | None]) -> float | None:
        """Median of a cost, None where it was not taken."""
        costs = [found for sample in self.samples if (found := cost(sample)) is not None]
        return statistics.median(costs) if costs else None


class Span:
    """Times `jobs` jobs: `with Span(...) as span: ...`, then `span.rate`. What it is given tells processor time."""

    def __init__(
        self, jobs: int, server_seconds: Callable[[], float] | None, store_seconds: Callable[[], float]
    ) -> None:
        self._jobs, self._server, self._store = jobs, server_seconds, store_seconds
        self.seconds = 0.0

    def __enter__(self) -> Span:
        self._before = self._spent()
        self._begun = time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds = time.perf_counter() - self._begun
        server, store = (after - before for after, before in zip(self._spent(), self._before, strict=True))
        self._costs = (server * 1e6 / self._jobs if self._server else None, store * 1e6 / self._jobs)

    def _spent(self) -> tuple[float, float]:
        return self._server() if self._server else 0.0, self._store()

    @property
    def rate(self) -> Sample:
        """Jobs a second, with their costs."""
        return Sample(self._jobs / self.seconds, *self._costs)


def percentile(values: Sequence[float], share: float) -> float:
    """The value that `share` of all do not pass."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def over_rounds(rounds: Sequence[Mapping[str, Sample]]) -> dict[str, Figure]:
    """The figures of all rounds, in the order in which they came."""
    names = dict.fromkeys(name for found in rounds for name in found)
    return {name: Figure(name, _unit(name), [found[name] for found in rounds if name in found]) for name in names}


def _unit(name: str) -> str:
    if "bytes" in name:
        return "bytes"
    if name.endswith("early"):
        return "jobs"
    return "ms" if name.endswith(" ms") else "1/s"
