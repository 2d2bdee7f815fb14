"""Jobs of a queue whose keys take turns are leased: of the key whose turn it is the best one for which there is room,
and so on (turns.py)."""

from __future__ import annotations

import asyncio
import heapq
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from bson.int64 import Int64

from tocsin_server.store.mongo.ageing import rank
from tocsin_server.store.mongo.commit import Commit
from tocsin_server.store.mongo.documents import Document
from tocsin_server.store.mongo.key_turns import FullKeys, KeyTurn, share, weight_of
from tocsin_server.store.mongo.limited_leases import LEASED, Asked, LimitedLeases
from tocsin_server.store.mongo.places import limit_key_of
from tocsin_server.store.mongo.rooms import Rooms
from tocsin_server.store.mongo.transitions import Standing, expired, is_late
from tocsin_server.store.mongo.turns import FILED, Turns

#: A claim reads so many keys at most, and jobs of each. Of more it is claimed again.
_KEYS, _OF_A_KEY = 50, 12
_BYTES = 1 << 20


@dataclass(slots=True)
class _Row:
    """A key, and its jobs by type, first those that keep its place."""

    turn: KeyTurn
    step: int | None  # how jobs gain priority (ageing.py)
    jobs: dict[str, list[Standing]] = field(default_factory=lambda: defaultdict(list))

    def __lt__(self, other: _Row) -> bool:
        return self.turn.rank < other.turn.rank

    def next(self, rooms: Rooms, left: Mapping[str, int]) -> Standing | None:
        """The best of those that may begin."""
        heads = [
            jobs[0]
            for type_, jobs in self.jobs.items()
            if jobs and left[type_] > 0 and rooms.hindrance(type_, self.turn.key, jobs[0].document["id"]) is None
        ]
        return min(heads, key=lambda job: rank(job.document, self.step), default=None)


@dataclass(slots=True)
class _Chosen:
    """What a claim leases, and the turns by which it does."""

    turn: int  # the tag of the last turn
    given: int  # how many tags were given
    jobs: list[Standing] = field(default_factory=list)
    served: dict[str, KeyTurn] = field(default_factory=dict)
    more: bool = False  # what comes next was not read

    def serve(self, row: _Row, job: Standing) -> None:
        """It is this key's turn. The tag of one that could not begin for a while is old: it does not make up for it."""
        one = row.turn
        self.turn = max(self.turn, one.tag)
        self.given += 1
        one.tag, one.given = self.turn + share(weight_of(job.document)), self.given
        self.served[one.key] = one
        self.jobs.append(job)

    def words(self) -> Document:
        """As the document of places has it."""
        tags = [{"key": one.key, "tag": Int64(one.tag), "given": Int64(one.given)} for one in self.served.values()]
        return {"turn": Int64(self.turn), "turns": Int64(self.given), "tags": tags}


class FairLeases:
    """Leases for claims."""

    def __init__(self, turns: Turns, leases: LimitedLeases, commit: Commit) -> None:
        self._turns = turns
        self._leases = leases
        self._commit = commit

    async def lease(
        self,
        queue: str,
        rooms: Rooms,
        places: Document,
        asked: Asked,
        start: datetime | None,
        step: int | None,
    ) -> tuple[list[Standing], bool]:
        """Those that are leased now, and whether to claim again at once; the words are those of LimitedLeases.lease,
        and `step` says how jobs gain priority (ageing.py)."""
        types = [name for name, most in asked.types.items() if most > 0]
        if await self._leases.found_stale(queue, rooms, places):
            return [], True
        if not types or asked.limit <= 0:
            return await self._leases.lease_these(queue, rooms, places, (), asked, start)
        _, unfiled = await asyncio.gather(self._turns.write_out(queue, places), self._turns.unfiled(queue))
        await self._turns.file(queue, places, unfiled)
        full, number = rooms.full_keys(), min(asked.limit, _KEYS) + 1
        depth = min(asked.limit + 1, _OF_A_KEY)
        (found, whole), keepers = await asyncio.gather(
            self._turns.first(queue, types, full, number, depth), self._keepers(queue, rooms, places, types)
        )
        horizon = None if whole else found[-1].rank
        missing = {limit_key_of(job) for job in keepers} - {one.key for one in found}
        others = await self._turns.of_keys(queue, missing, types, full, depth)
        if step is not None:
            await self._turns.read_by_age(queue, [*found, *others], types, full, depth, step)
        for one in others:
            if one.key in full.get("", ()):
                one.jobs, one.whole = [], True  # none but those that keep its place
        keys = [*found, *others]
        if late := [job for job in (*keepers, *(job for one in keys for job in one.jobs)) if is_late(job)]:
            for job in late:
                expired(job)
            await self._commit.write(queue, late)
            return [], True
        empty = list(_empty(found, types, full))
        chosen = _choose(rooms, asked, _rows(keys, keepers, step), horizon, places)
        await self._turns.drop(queue, empty)
        more = chosen.more or len(unfiled) == FILED
        if not chosen.jobs:
            return (await self._leases.lease_these(queue, rooms, places, (), asked, start))[0], more
        taken, lost = await self._leases.lease_these(
            queue, rooms, {**places, **chosen.words()}, chosen.jobs, asked, start
        )
        return taken, more or lost

    async def _keepers(
        self, queue: str, rooms: Rooms, places: Mapping[str, Any], types: Sequence[str]
    ) -> list[Standing]:
        """Those that may begin."""
        if not any(one.get("waits") for one in places["held"]):
            return []
        found = await self._turns.keepers(queue, types)
        return [
            job for job in found if rooms.hindrance(job.document["type"], limit_key_of(job), job.document["id"]) is None
        ]


def _rows(keys: Iterable[KeyTurn], keepers: Iterable[Standing], step: int | None) -> list[_Row]:
    rows = {one.key: _Row(one, step) for one in keys}
    first = set()
    for job in keepers:
        if (row := rows.get(limit_key_of(job))) is not None:
            first.add(job.document["id"])
            row.jobs[job.document["type"]].append(job)
    for row in rows.values():
        for job in row.turn.jobs:
            if job.document["id"] not in first:
                row.jobs[job.document["type"]].append(job)
    return list(rows.values())


def _choose(
    rooms: Rooms,
    asked: Asked,
    rows: list[_Row],
    horizon: tuple[int, int, str] | None,
    places: Mapping[str, Any],
) -> _Chosen:
    """Whose turn it is, one after another. horizon: the last key that was read, where there are others."""
    given = max((row.turn.given for row in rows), default=0)
    chosen = _Chosen(int(places.get("turn", 0)), max(int(places.get("turns", 0)), given))
    left, size, most = dict(asked.types), 0, min(asked.limit, LEASED)
    heapq.heapify(rows)
    while rows and len(chosen.jobs) < most:
        row = rows[0]
        if horizon is not None and row.turn.rank > horizon:
            break
        job = row.next(rooms, left)
        if job is None:
            if not row.turn.whole:  # what it has beside these may begin
                chosen.more = True
                return chosen
            heapq.heappop(rows)
            continue
        size += job.document["bytes"]
        if size > _BYTES and chosen.jobs:
            chosen.more = True
            return chosen
        type_ = job.document["type"]
        rooms.take(type_, row.turn.key, job.document["id"])
        left[type_] -= 1
        row.jobs[type_].pop(0)
        chosen.serve(row, job)
        heapq.heapreplace(rows, row)
    chosen.more = asked.limit > most if len(chosen.jobs) == most else horizon is not None
    return chosen


def _empty(found: Iterable[KeyTurn], types: Sequence[str], full: FullKeys) -> Iterable[tuple[KeyTurn, Sequence[str]]]:
    """Keys and types of which all that may begin was read, and there is nothing."""
    for one in found:
        asked = {type_ for type_ in types if one.key not in full.get(type_, ())}
        if one.whole and (none := (asked & one.types) - {job.document["type"] for job in one.jobs}):
            yield one, sorted(none)
