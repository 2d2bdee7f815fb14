"""What stands in queues, as Prometheus reads it. What is read of a queue is written out then, so that a scrape has
little to do but to put the lines together, and does that once where nothing has changed.

Which queues and types are told apart goes by their names alone, so that each server on a store says the same: the
first so many queues by name, the first types by name. The others are added up as `other`, so that sums stay right.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from datetime import datetime
from itertools import islice

from tocsin_server.domain.queues import QueueFigures
from tocsin_server.telemetry.instruments import OTHER
from tocsin_server.telemetry.metrics import (
    JOBS,
    LIMIT_ACTIVE,
    LIMIT_HELD_KEYS,
    LIMIT_MAX,
    OLDEST_DUE,
    QUEUES,
    TYPES,
)

#: Pairs of queue and type that are told apart; in the queues beyond, all types are one.
_PAIRS = 20_000

_Counts = Mapping[tuple[str, str], int]  # by type and state


class _Queue:
    """One queue's lines."""

    __slots__ = ("_as_one", "_name", "_sample", "active", "counts", "due", "held", "in_rest", "jobs", "most", "types")

    def __init__(self, name: str, figures: QueueFigures) -> None:
        self._name = name
        self._sample = OLDEST_DUE.sample((name,))
        self.in_rest = False  # it is not told apart
        self.take(figures)

    def take(self, figures: QueueFigures) -> None:
        """What was read of it now."""
        self.counts: dict[tuple[str, str], int] = {
            (type_, state.name): jobs for state, by_type in figures.counts.items() for type_, jobs in by_type.items()
        }
        self.types = frozenset(type_ for type_, _ in self.counts)
        self.jobs = _jobs(self._name, self.counts)
        self._as_one: str | None = None
        self.active = "".join(f"{LIMIT_ACTIVE.sample((self._name, one.name))}{one.active}\n" for one in figures.limits)
        self.most = "".join(f"{LIMIT_MAX.sample((self._name, one.name))}{one.most}\n" for one in figures.limits)
        self.held = f"{LIMIT_HELD_KEYS.sample((self._name,))}{figures.held_keys}\n" if figures.held_keys else ""
        oldest = figures.oldest_waiting
        self.due = None if oldest is None else oldest.timestamp()

    @property
    def as_one(self) -> str:
        """Its jobs, with no type told apart."""
        if self._as_one is None:
            self._as_one = self.folded(())
        return self._as_one

    def folded(self, known: Collection[str]) -> str:
        """Its jobs, with only these types told apart."""
        return _jobs(self._name, _folded(self.counts, known))

    def age(self, now: float) -> str:
        """For how long its oldest job is due."""
        return f"{self._sample}0\n" if self.due is None else f"{self._sample}{max(0.0, now - self.due):.3f}\n"


class QueueGauges:
    """Writes the figures of queues. queues: how many are told apart."""

    def __init__(self, queues: int) -> None:
        self._most = queues
        self._queues: dict[str, _Queue] = {}
        self._types: Counter[str] = Counter()  # of queues that have it
        self._shown: list[_Queue] = []  # by name
        self._rest: list[_Queue] = []
        self._rest_counts: Counter[tuple[str, str]] = Counter()
        self._moved = self._changed = True  # other queues are there; or what was read of some is new
        self._jobs = ""

    def take(self, figures: Mapping[str, QueueFigures]) -> None:
        """What was read of some queues."""
        for name, of_one in figures.items():
            queue = self._queues.get(name)
            if queue is None:
                queue = self._queues[name] = _Queue(name, of_one)
                self._types.update(queue.types)
                self._moved = True
                continue
            types, counts = queue.types, queue.counts
            queue.take(of_one)
            if types != queue.types:
                self._types.update(queue.types)
                self._types -= Counter(types)
            if queue.in_rest:
                self._rest_counts.subtract(counts)
                self._rest_counts.update(queue.counts)
        self._changed = True

    def drop(self, queues: Collection[str]) -> None:
        """These are no more."""
        for name in queues & self._queues.keys():
            self._types -= Counter(self._queues.pop(name).types)
            self._moved = self._changed = True

    def lines(self, now: datetime) -> Iterator[str]:
        """All of them, at this time of the store's clock."""
        if self._moved:
            in_order = [queue for _, queue in sorted(self._queues.items())]
            self._shown, self._rest = in_order[: self._most], in_order[self._most :]
            self._rest_counts.clear()
            for place, queue in enumerate(in_order):
                queue.in_rest = place >= self._most
            for queue in self._rest:
                self._rest_counts.update(queue.counts)
            self._moved = False
        if self._changed:
            self._jobs = "".join(self._of_jobs())
            self._changed = False
        yield f"{QUEUES.head()}{QUEUES.sample(())}{len(self._queues)}\n"
        yield JOBS.head()
        yield self._jobs
        yield OLDEST_DUE.head()
        seconds = now.timestamp()
        yield from [queue.age(seconds) for queue in self._shown]
        if self._rest:  # below its own head: readers of the stricter format give up at a sample elsewhere
            due = min((queue.due for queue in self._rest if queue.due is not None), default=seconds)
            yield f"{OLDEST_DUE.sample((OTHER,))}{max(0.0, seconds - due):.3f}\n"
        for family, of_each in (
            (LIMIT_ACTIVE, [queue.active for queue in self._shown]),
            (LIMIT_MAX, [queue.most for queue in self._shown]),
            (LIMIT_HELD_KEYS, [queue.held for queue in self._shown]),
        ):
            yield family.head()
            yield from of_each

    def _of_jobs(self) -> Iterator[str]:
        many = len(self._types) > TYPES
        known = frozenset(islice(sorted(self._types), TYPES)) if many else frozenset(self._types)
        pairs = 0
        for queue in self._shown:
            pairs += len(queue.types)
            if pairs > _PAIRS:
                yield queue.as_one
            else:
                yield queue.folded(known) if many else queue.jobs
        if self._rest:
            yield _jobs(OTHER, _folded(+self._rest_counts, known))


def _folded(counts: _Counts, known: Collection[str]) -> _Counts:
    """With the types that are not known added up."""
    folded: Counter[tuple[str, str]] = Counter()
    for (type_, state), jobs in counts.items():
        folded[type_ if type_ in known else OTHER, state] += jobs
    return folded


def _jobs(queue: str, counts: _Counts) -> str:
    return "".join(f"{JOBS.sample((queue, *labels))}{jobs}\n" for labels, jobs in counts.items())
