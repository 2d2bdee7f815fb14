"""How much room the limits of a queue have for one claim. Pure: from what stands in the queue's document of places."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from tocsin_server.domain.explaining import HeldBack
from tocsin_server.domain.queue_limits import Limit, LimitScope
from tocsin_server.domain.times import time_to_ms, to_ms, to_time
from tocsin_server.store.mongo.documents import Document

_Name = tuple[str, str]  # a limit, and the key where it counts each by itself


def name_of(limit: Limit, limit_key: str) -> _Name:
    """Under which a limit counts."""
    return (limit.name, limit_key if limit.scope is LimitScope.KEY else "")


def counts_place(limit: Limit, place: Mapping[str, Any]) -> bool:
    """Whether a limit counts a place: of a job that waits for its retry, that of its key alone."""
    counts = limit.scope is LimitScope.KEY or not place.get("waits")
    return counts and limit.covers(place["type"], place["key"])


class Rooms:
    """Places that are taken, and rates (the generic cell rate algorithm, as in lua/lib/rates.lua), at `now`; then what
    a claim takes."""

    def __init__(self, limits: Sequence[Limit], places: Mapping[str, Any], now: datetime) -> None:
        self.limits = limits
        self.now = time_to_ms(now)
        self._taken: Counter[_Name] = Counter()
        self._keepers: set[str] = set()  # jobs that wait for a retry, and keep the place of their key
        self._kept: Counter[_Name] = Counter()  # places that those keep
        self._rates: dict[_Name, tuple[float, int]] = {}  # when it is full again, and until when it is halted
        for one in places.get("held", ()):
            if one.get("waits"):
                self._keepers.add(one["job"])
            for limit in limits:
                if counts_place(limit, one):
                    self._taken[name_of(limit, one["key"])] += 1
                    self._kept[name_of(limit, one["key"])] += "waits" in one
        for one in places.get("rates", ()):
            self._rates[one["limit"], one["key"]] = one["full"], int(one["halted"])

    def keeps(self, job_id: str) -> bool:
        """Whether a job that waits has the place of its key."""
        return job_id in self._keepers

    def hindrance(self, type_: str, limit_key: str, job_id: str = "") -> HeldBack | None:
        """The limit that has no room for such a job; None: it may begin."""
        for limit in self.limits:
            if limit.covers(type_, limit_key) and (found := self._full(limit, limit_key, job_id)) is not None:
                return found
        return None

    def full_keys(self) -> dict[str, list[str]]:
        """By type ("": any) keys of which no job may begin, but for jobs that keep their key's place."""
        found: dict[str, set[str]] = {}
        for limit in self.limits:
            if limit.scope is LimitScope.KEY:
                for name, key in {*self._taken, *self._rates}:
                    if name == limit.name and self._full(limit, key, "") is not None:
                        found.setdefault(limit.type, set()).add(key)
        return {type_: sorted(keys) for type_, keys in found.items()}

    def room_for_all(self, type_: str | None) -> int:
        """How many jobs limits of the queue (None), or of a type, let begin."""
        rooms = [
            self._room(limit, "")[0]
            for limit in self.limits
            if (
                limit.scope is LimitScope.QUEUE
                if type_ is None
                else limit.scope is LimitScope.TYPE and limit.type == type_
            )
        ]
        return min(rooms, default=1_000_000)

    def take(self, type_: str, limit_key: str, job_id: str) -> None:
        """A job begins."""
        keeps = self.keeps(job_id)
        for limit in self.limits:
            if not limit.covers(type_, limit_key):
                continue
            name = name_of(limit, limit_key)
            if keeps and limit.scope is LimitScope.KEY:
                self._kept[name] -= 1
            else:
                self._taken[name] += 1
            if limit.rate is not None:
                full, halted = self._rates.get(name, (0.0, 0))
                self._rates[name] = max(full, self.now) + to_ms(limit.rate.per) / limit.rate.jobs, halted
        self._keepers.discard(job_id)

    def halt(self, limit: Limit, limit_key: str, span: timedelta) -> None:
        """Let nothing begin for a while."""
        name = name_of(limit, limit_key)
        full, halted = self._rates.get(name, (0.0, 0))
        self._rates[name] = full, max(halted, self.now + to_ms(span))

    def rates(self) -> list[Document]:
        """What is to be kept of rates: those that are not full."""
        return [
            {"limit": limit, "key": key, "full": full, "halted": halted}
            for (limit, key), (full, halted) in self._rates.items()
            if full > self.now or halted > self.now
        ]

    @property
    def any_full(self) -> bool:
        """Whether some limit has all its places taken."""
        most = {limit.name: limit.max_active for limit in self.limits if limit.max_active is not None}
        return any(active >= most[name] for (name, _), active in self._taken.items() if name in most)

    def next_time(self) -> datetime | None:
        """When the first of what a rate or a halt holds back goes on."""
        times = [
            at
            for limit in self.limits
            for name, key in self._rates
            if name == limit.name and (at := self._at(limit, key))
        ]
        return to_time(min(times)) if times else None

    def _full(self, limit: Limit, limit_key: str, job_id: str) -> HeldBack | None:
        name = name_of(limit, limit_key)
        active = self._taken[name]
        # Who keeps a place is not in its own way; but more may stand there than may run, since limits change.
        in_its_way = active - self._kept[name] if self.keeps(job_id) and limit.scope is LimitScope.KEY else active
        if limit.max_active is not None and in_its_way >= limit.max_active:
            return HeldBack(limit.name, active, limit.max_active)
        if (at := self._at(limit, limit_key)) is not None:
            return HeldBack(limit.name, active, limit.max_active, to_time(at))
        return None

    def _at(self, limit: Limit, limit_key: str) -> int | None:
        """When a rate lets the next job begin; None: now."""
        room, at = self._room_by_rate(limit, limit_key)
        return at if room <= 0 else None

    def _room(self, limit: Limit, limit_key: str) -> tuple[int, int]:
        room, at = self._room_by_rate(limit, limit_key)
        if limit.max_active is not None:
            room = min(room, limit.max_active - self._taken[name_of(limit, limit_key)])
        return room, at

    def _room_by_rate(self, limit: Limit, limit_key: str) -> tuple[int, int]:
        full, halted = self._rates.get(name_of(limit, limit_key), (0.0, 0))
        if halted > self.now:
            return 0, halted
        if limit.rate is None:
            return 1_000_000, self.now
        each, full = to_ms(limit.rate.per) / limit.rate.jobs, max(full, self.now)
        room = math.floor((self.now + limit.rate.burst * each - full) / each + 0.0001)
        return max(0, room), max(self.now + 1, math.ceil(full - (limit.rate.burst - 1) * each))
