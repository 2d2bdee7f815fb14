"""Jobs of one key (JobSpec.collapse): which stand, and what becomes of another one.

That one job is made where two servers are asked at a moment is seen to by an index: a new job says after which job of
its key it comes, the newest that its server saw, and no two may come after the same. Who loses reads again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from tocsin_server.domain.conditions import Collapse, CollapseMode
from tocsin_server.domain.job import Draft
from tocsin_server.domain.states import State
from tocsin_server.store.mongo.documents import span, to_ms
from tocsin_server.store.mongo.jobs import Jobs
from tocsin_server.store.mongo.transitions import Standing

_OPEN = 20  # of the jobs of a key that have not ended, the newest; there are two, but for throttled ones


@dataclass(frozen=True, slots=True)
class KeyRow:
    """The jobs of a key that matter: of each kind the newest."""

    blocked: Standing | None  # waits for another of them
    pending: Standing | None  # waits for its time, or for a worker
    active: Standing | None
    newest: Standing | None  # by arrival, whatever became of it
    latest: Standing | None  # the one made last; a job keeps that time when it becomes another

    @property
    def after(self) -> int:
        """Which one a new job comes after."""
        return 0 if self.newest is None else int(self.newest.document["arrival"])


@dataclass(frozen=True, slots=True)
class Collapsed:
    """What becomes of a draft: kept or replaced by `other`, or made as `draft` says; `blocked`, until another ends."""

    draft: Draft
    other: Standing | None = None
    kept: bool = False
    blocked: bool = False


def key_of(draft: Draft) -> str | None:
    """The key by which documents find each other; None where it has none."""
    collapse = draft.spec.conditions.collapse
    return None if collapse is None else f"{draft.spec.type}:{collapse.key}"


async def read_row(jobs: Jobs, queue: str, key: str) -> KeyRow:
    """What stands of a key now. The jobs can be written, where they stand so still."""
    of_key = {"queue": queue, "key": key}
    newest, unfinished = await asyncio.gather(
        jobs.find(of_key, sort=[("arrival", -1)], limit=1),
        jobs.find({**of_key, "state": {"$lte": int(State.ACTIVE)}}, sort=[("arrival", -1)], limit=_OPEN),
    )
    known = {job.document["id"]: job for job in (*newest, *unfinished)}
    found = sorted(known.values(), key=lambda job: -int(job.document["arrival"]))

    def first(*states: State) -> Standing | None:
        return next((job for job in found if job.state in states), None)

    return KeyRow(
        first(State.BLOCKED),
        first(State.SCHEDULED, State.WAITING),
        first(State.ACTIVE),
        found[0] if found else None,
        max(found, key=lambda job: job.document["create"], default=None),
    )


async def waiting_for(jobs: Jobs, queue: str, key: str) -> Standing | None:
    """The job that waits for the end of another of its key, where none runs or is to run any more."""
    states = [int(State.BLOCKED), -int(State.BLOCKED)]
    if not await jobs.find({"queue": queue, "key": key, "state": {"$in": states}}, limit=1):
        return None
    row = await read_row(jobs, queue, key)
    return row.blocked if row.active is None and row.pending is None else None


def collapsed(draft: Draft, collapse: Collapse, row: KeyRow) -> Collapsed:
    """What becomes of a draft, by what stands of its key; as in lua/lib/collapse.lua."""
    waits = row.pending or row.blocked
    match collapse.mode:
        case CollapseMode.KEEP | CollapseMode.THROTTLE:
            if collapse.mode is CollapseMode.KEEP and (waits or row.active):
                return Collapsed(draft, waits or row.active, kept=True)
            within = row.latest is not None and _made_within(row.latest, collapse.window)
            return Collapsed(draft, row.latest, kept=True) if within else Collapsed(draft)
        case CollapseMode.DEBOUNCE:
            return Collapsed(_put_off(draft, collapse, waits), waits)
        case CollapseMode.REPLACE:
            return Collapsed(draft, waits)
        case CollapseMode.RUN_AGAIN_AFTER:
            unbegun = row.pending if row.pending and not row.pending.document["attempt"] else None
            if waits := row.blocked or unbegun:
                return Collapsed(draft, waits)
            return Collapsed(draft, blocked=(row.pending or row.active) is not None)


def _made_within(job: Standing, window: timedelta) -> bool:
    return bool(job.document["create"] + span(to_ms(window)) > job.now)


def _put_off(draft: Draft, collapse: Collapse, waits: Standing | None) -> Draft:
    """The draft, due when none has come for a window, or the first has waited for too long."""
    if waits is not None and collapse.max_wait is not None:
        last = waits.document["create"] + span(to_ms(collapse.max_wait))
        if last < waits.now + collapse.window:
            return replace(draft, when=last)
    return replace(draft, when=collapse.window)


def each_key_once(drafts: Sequence[Draft]) -> Iterator[Sequence[Draft]]:
    """The drafts in order, in parts: those with a key apart from those without, and each key once in a part."""
    part: list[Draft] = []
    seen: set[str] = set()
    with_keys = False
    for draft in drafts:
        key = key_of(draft)
        if part and ((key is not None) != with_keys or key in seen):
            yield part
            part, seen = [], set()
        with_keys = key is not None
        if key is not None:
            seen.add(key)
        part.append(draft)
    if part:
        yield part
