"""The book of shared limits: how many places each queue has, in one record of a store, changed as a whole. Pure.

What a queue tells (shared_limit_store.py) is numbered by it, so of two words that overtook each other the later one
counts. What is taken and given is numbered by the book: each grant of places has a version, and stands until the
queue's word of after it was used has come, or the queue was told to refuse all grants up to a version. So what the book
says of a queue is never less than what runs there, whatever is lost or late.

A queue whose word has not come since it joined has no number; its limits let nothing begin before it has.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from tocsin_server.domain.queue_limits import Rate
from tocsin_server.domain.shared_limits import SharedLimit, SharedLimitState
from tocsin_server.domain.times import to_ms, to_time

#: Milliseconds for which a place is kept for the queue that was rung for it. Who does not come by then loses its turn.
_KEPT_FOR = 200
#: Milliseconds after which nobody is believed to be about to use a grant. If somebody is, the queue refuses it.
_UNDER_WAY = 1000


@dataclass(slots=True)
class _Limit:
    limit: SharedLimit
    full: float = (
        0.0  # when the rate's bucket is full again, in ms (the generic cell rate algorithm, lua/lib/rates.lua)
    )
    waits: list[list[Any]] = field(default_factory=list)  # [queue, when it was rung, 0: not yet], in turn


@dataclass(slots=True)
class _Queue:
    joined: int  # the version by which it joined
    running: int | None = None  # None: its word has not come
    word: int = 0  # the number of its last one


@dataclass(frozen=True, slots=True)
class Taken:
    """What a claim may do: lease up to `jobs` jobs by this version."""

    version: int
    jobs: int = 0
    member: bool = True  # False: no shared limit names the queue
    unheard: tuple[tuple[str, int], ...] = ()  # queues that must be heard first, and the versions by which they joined
    at: int | None = None  # none may begin: ask again at this time, in ms


@dataclass(frozen=True, slots=True)
class Word:
    """What a queue tells of itself: the number of this word, how many of its jobs run, whether any waits, up to which
    version it refuses grants; marked: whether it knows that it has shared limits."""

    number: int
    running: int
    waits: bool = True
    floor: int = 0
    marked: bool = True


class Book:
    """All shared limits of a store, their queues, and grants under way."""

    def __init__(self, said: bytes | None = None) -> None:
        self.version = 0
        self.checked = 0  # when a chore looked last, in ms
        self._limits: dict[str, _Limit] = {}
        self._queues: dict[str, _Queue] = {}
        self._grants: dict[int, tuple[str, int, int]] = {}  # by version: queue, jobs, since when
        if said:
            self._read(json.loads(said))

    def _read(self, said: Any) -> None:
        self.version, self.checked = said["version"], said["checked"]
        for name, queues, most, rate, full, waits in said["limits"]:
            of = rate and Rate(rate[0], timedelta(milliseconds=rate[1]), rate[2])
            self._limits[name] = _Limit(SharedLimit(name, tuple(queues), most, of), full, waits)
        self._queues = {name: _Queue(*one) for name, *one in said["queues"]}
        self._grants = {version: (queue, jobs, since) for version, queue, jobs, since in said["grants"]}

    def written(self) -> bytes:
        """As it is kept."""
        limits = []
        for name, one in self._limits.items():
            rate = one.limit.rate and [one.limit.rate.jobs, to_ms(one.limit.rate.per), one.limit.rate.burst]
            limits.append([name, one.limit.queues, one.limit.max_active, rate, one.full, one.waits])
        said = {
            "version": self.version,
            "checked": self.checked,
            "limits": limits,
            "queues": [[name, one.joined, one.running, one.word] for name, one in self._queues.items()],
            "grants": [[version, *grant] for version, grant in self._grants.items()],
        }
        return json.dumps(said, separators=(",", ":")).encode()

    # --- limits ---

    @property
    def names(self) -> list[str]:
        """Of all limits."""
        return sorted(self._limits)

    @property
    def queues(self) -> dict[str, int]:
        """All queues that limits name, and the versions by which they joined."""
        return {name: one.joined for name, one in self._queues.items()}

    @property
    def unheard(self) -> dict[str, int]:
        """Those whose word has not come, and the versions by which they joined."""
        return {name: one.joined for name, one in self._queues.items() if one.running is None}

    def put(self, limit: SharedLimit) -> tuple[dict[str, int], dict[str, int]]:
        """Make it stand. Queues that have joined, and that are in no limit any more, with the version of this."""
        old = self._limits.get(limit.name)
        if old is not None and old.limit == limit:
            return self.unheard, {}
        self.version += 1
        new = self._limits[limit.name] = _Limit(limit, old.full if old else 0.0)
        if old is not None:
            new.waits = [one for one in old.waits if one[0] in limit.queues]
        for name in limit.queues:
            self._queues.setdefault(name, _Queue(self.version))
        return self.unheard, self._leave(old.limit.queues if old else ())

    def delete(self, name: str) -> dict[str, int] | None:
        """Queues that are in no limit any more, with the version of this; None: it was not there."""
        old = self._limits.pop(name, None)
        if old is None:
            return None
        self.version += 1
        return self._leave(old.limit.queues)

    def states(self, now: int, names: Iterable[str] | None = None) -> list[SharedLimitState]:
        """The limits, by name, as they are now."""
        found = []
        for name in self.names if names is None else names:
            if (one := self._limits.get(name)) is not None:
                active = {queue: number for queue in one.limit.queues if (number := self._places(queue))}
                room, at = self._by_rate(one, now)
                found.append(SharedLimitState(one.limit, active, None if room > 0 else to_time(at)))
        return found

    def of(self, queue: str) -> list[str]:
        """Names of those that name a queue."""
        return [name for name in self.names if queue in self._limits[name].limit.queues]

    # --- places ---

    def take(self, queue: str, wanted: int, now: int) -> Taken:
        """Take up to `wanted` places for a queue, as many as all its limits have."""
        limits = [self._limits[name] for name in self.of(queue)]
        if not limits:
            self.version += 1
            return Taken(self.version, member=False)
        others = {name for one in limits for name in one.limit.queues}
        if unheard := tuple((name, joined) for name, joined in self.unheard.items() if name in others):
            return Taken(self.version, unheard=unheard)
        jobs, at, short = wanted, 0, list[_Limit]()
        for one in limits:
            room = self._room(one) - self._ahead(one, queue, now)
            by_rate, time = self._by_rate(one, now)
            if room < wanted:
                short.append(one)
            if room <= 0:
                at = max(at, now + _UNDER_WAY)
            elif by_rate <= 0:
                at = max(at, time)
            jobs = min(jobs, room, by_rate)
        for one in limits:
            if jobs > 0:
                one.waits = [wait for wait in one.waits if wait[0] != queue]
            if one in short and jobs < wanted and queue not in [wait[0] for wait in one.waits]:
                one.waits.append([queue, 0])
        if jobs <= 0:
            return Taken(self.version, at=at)
        self.version += 1
        for one in limits:
            if one.limit.rate is not None:
                one.full = max(one.full, now) + jobs * _each(one.limit.rate)
        self._grants[self.version] = queue, jobs, now
        return Taken(self.version, jobs)

    def used(self, version: int, number: int, word: Word) -> None:
        """A grant was used for so many jobs, by the word of the queue that came with it. What is left goes back."""
        queue, jobs, _ = self._grants.pop(version, ("", 0, 0))
        if queue:
            for name in self.of(queue):
                one = self._limits[name]
                if one.limit.rate is not None:
                    one.full -= max(0, jobs - number) * _each(one.limit.rate)
            self.hear(queue, word)

    def refused(self, version: int, floor: int) -> None:
        """A queue refused a grant, as it does all up to `floor`."""
        self._grants.pop(version, None)
        self.version = max(self.version, floor)  # lower where the book was put back from a backup

    def hear(self, queue: str, word: Word, *, joined: int | None = None, up_to: int = 0) -> None:
        """A queue tells how many of its jobs run. joined: it knows that it joined by this version. up_to: it refuses
        all grants up to this one."""
        self.version = max(self.version, word.floor)
        if up_to:
            for version in [one for one, grant in self._grants.items() if grant[0] == queue and one <= up_to]:
                del self._grants[version]
        known = self._queues.get(queue)
        if known is None or word.number <= known.word:
            return
        if not word.marked:
            if known.running is not None:  # it was lost by its store: told anew
                self.version += 1
                known.joined, known.running, known.word = self.version, None, word.number
            return
        if known.running is None and (joined is None or joined < known.joined):
            return
        known.running, known.word = word.running, word.number
        if not word.waits:
            for name in self.of(queue):
                one = self._limits[name]
                one.waits = [wait for wait in one.waits if wait[0] != queue]

    def stale(self, now: int) -> dict[str, int]:
        """Queues that have grants nobody is believed to use any more, with a version up to which these are to be
        refused."""
        queues = {queue for queue, _, since in self._grants.values() if now - since >= _UNDER_WAY}
        if queues:
            self.version += 1
        return dict.fromkeys(sorted(queues), self.version)

    def rung(self, now: int) -> list[str]:
        """Queues that are to be rung, as there is a place for each of them; it is kept for a moment."""
        found: dict[str, None] = {}
        for one in self._limits.values():
            room = self._room(one)
            for wait in one.waits:
                if room <= 0:
                    break
                if not wait[1]:
                    wait[1] = now
                    found[wait[0]] = None
                    room -= 1
                elif now - wait[1] <= _KEPT_FOR:
                    room -= 1
        return list(found)

    def running(self, queue: str) -> int | None:
        """How many of its jobs run, by its last word."""
        return self._queues[queue].running if queue in self._queues else None

    # --- reckoning ---

    def _leave(self, queues: Iterable[str]) -> dict[str, int]:
        left = {name: self.version for name in queues if not self.of(name)}
        for name in left:
            self._queues.pop(name, None)
        self._grants = {version: grant for version, grant in self._grants.items() if grant[0] not in left}
        return left

    def _places(self, queue: str) -> int:
        known = self._queues.get(queue)
        granted = sum(jobs for of, jobs, _ in self._grants.values() if of == queue)
        return granted + ((known.running or 0) if known else 0)

    def _room(self, one: _Limit) -> int:
        if one.limit.max_active is None:
            return 1_000_000
        return one.limit.max_active - sum(map(self._places, one.limit.queues))

    def _ahead(self, one: _Limit, queue: str, now: int) -> int:
        """Other queues whose turn comes first, each of which has a place kept."""
        one.waits = [wait for wait in one.waits if not wait[1] or now - wait[1] <= _KEPT_FOR]
        ahead = 0
        for wait in one.waits:
            if wait[0] == queue:
                break
            ahead += 1
        return ahead

    def _by_rate(self, one: _Limit, now: int) -> tuple[int, int]:
        """How many may begin by its rate; and where none may, when one may."""
        rate = one.limit.rate
        if rate is None:
            return 1_000_000, now
        each, full = _each(rate), max(one.full, now)
        room = math.floor((now + rate.burst * each - full) / each + 0.0001)
        return max(0, room), max(now + 1, math.ceil(full - (rate.burst - 1) * each))


def _each(rate: Rate) -> float:
    return to_ms(rate.per) / rate.jobs
