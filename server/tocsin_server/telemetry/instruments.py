"""Counters and timings that a job's path can afford, and how they are written for Prometheus.

All of it lives on the event loop that serves, so that to count is to add: no lock, and no object a job. Labels are
bounded: names that come when there is no room are counted together as `other`.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

OTHER = "other"


@dataclass(frozen=True, slots=True)
class Family:
    """A metric: its name by Prometheus' conventions, what it says, and the names of its labels."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    labels: tuple[str, ...] = ()

    def head(self) -> str:
        """The two lines before its samples."""
        said = self.help.replace("\\", r"\\").replace("\n", r"\n")
        return f"# HELP {self.name} {said}\n# TYPE {self.name} {self.kind}\n"

    def sample(self, values: Sequence[str], *, suffix: str = "", more: str = "") -> str:
        """A sample's line up to its number. more: a further label, written out."""
        labels = [f'{name}="{_escaped(value)}"' for name, value in zip(self.labels, values, strict=True)]
        if more:
            labels.append(more)
        return f"{self.name}{suffix}{{{','.join(labels)}}} " if labels else f"{self.name}{suffix} "

    def lines(self, samples: Iterable[tuple[Sequence[str], float]]) -> Iterator[str]:
        """All of it, of values that are at hand. Nothing where there are none."""
        written = [f"{self.sample(values)}{number(value)}\n" for values, value in samples]
        if written:
            yield self.head()
            yield from written


class Label:
    """The values of a label: the first `most` that come, and `other` for all further ones."""

    __slots__ = ("_known", "_most")

    def __init__(self, most: int) -> None:
        self._most = most
        self._known: set[str] = set()

    def of(self, name: str) -> str:
        """What the name is counted as, from now on."""
        if name in self._known:
            return name
        if len(self._known) < self._most:
            self._known.add(name)
            return name
        return OTHER


class Counter:
    """Numbers that only grow, one for each combination of labels."""

    __slots__ = ("_written", "family", "values")

    def __init__(self, family: Family) -> None:
        self.family = family
        self.values: dict[tuple[str, ...], float] = {}  # whoever counts often adds here
        self._written: dict[tuple[str, ...], str] = {}

    def add(self, *labels: str, by: float = 1) -> None:
        """Count so many more."""
        self.values[labels] = self.values.get(labels, 0) + by

    def lines(self) -> Iterator[str]:
        """All of it."""
        yield self.family.head()
        written = self._written
        for labels, value in self.values.items():
            text = written.get(labels)
            if text is None:
                text = written[labels] = self.family.sample(labels)
            yield f"{text}{number(value)}\n"


class Timings:
    """A histogram: how often something took at most so many seconds, for each combination of labels. bounds: ascending,
    without infinity."""

    __slots__ = ("_written", "bounds", "family", "rows")

    def __init__(self, family: Family, bounds: Sequence[float]) -> None:
        self.family = family
        self.bounds = tuple(bounds)
        #: By labels: how many are in each bucket and in none of them, and last the sum.
        self.rows: dict[tuple[str, ...], list[float]] = {}
        self._written: dict[tuple[str, ...], list[str]] = {}

    def row(self, *labels: str) -> list[float]:
        """The numbers of these labels, made where they are not there. Whoever observes often keeps it."""
        row = self.rows.get(labels)
        if row is None:
            row = self.rows[labels] = [0] * (len(self.bounds) + 1) + [0.0]
        return row

    def observe(self, value: float, *labels: str) -> None:
        """One more value."""
        row = self.row(*labels)
        row[bisect_left(self.bounds, value)] += 1
        row[-1] += value

    def lines(self) -> Iterator[str]:
        """All of it, buckets cumulated."""
        yield self.family.head()
        for labels, row in self.rows.items():
            texts = self._written.get(labels)
            if texts is None:
                texts = self._written[labels] = self._texts(labels)
            total = 0.0
            for text, count in zip(texts[:-2], row[:-1], strict=True):
                total += count
                yield f"{text}{total:.0f}\n"
            yield f"{texts[-2]}{number(row[-1])}\n"
            yield f"{texts[-1]}{total:.0f}\n"

    def _texts(self, labels: Sequence[str]) -> list[str]:
        bounds = [*map(number, self.bounds), "+Inf"]
        buckets = [self.family.sample(labels, suffix="_bucket", more=f'le="{bound}"') for bound in bounds]
        return [*buckets, self.family.sample(labels, suffix="_sum"), self.family.sample(labels, suffix="_count")]


def number(value: float) -> str:
    """As Prometheus reads it."""
    return str(int(value)) if value == int(value) else repr(float(value))


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
