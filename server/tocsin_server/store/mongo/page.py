"""One page of the jobs that match a filter.

An index finds queue, states, types and one tag, in order. What is left of the filter is tested here, on a bounded
number of jobs: first their tested fields are read, then the jobs that passed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from tocsin_server.domain import limits
from tocsin_server.domain.filters import JobFilter, ListQuery, Order, Page, Position, Window
from tocsin_server.domain.job import Job, View
from tocsin_server.domain.states import ENDED, State
from tocsin_server.store.mongo.documents import UNREAD, Document, job_of
from tocsin_server.store.mongo.figures import QueueCounts, indexed
from tocsin_server.store.mongo.jobs import Jobs

_INSPECTED = 1_000  # jobs one call may look at
_JOB_BYTES = 400  # what a job takes in an answer beside what is counted
_LIGHT = dict.fromkeys((*UNREAD, "errors.trace"), 0)  # all that View.BASIC shows
_TESTED = dict.fromkeys(("state", "type", "priority", "due", "create", "end", "arrival", "tags", "bytes"), 1)


class PageJobs:
    """JobStore.page."""

    def __init__(self, jobs: Jobs, counts: QueueCounts) -> None:
        self._jobs = jobs
        self._counts = counts

    async def page(self, query: ListQuery) -> Page:
        """As JobStore.page."""
        # A filter that has an index to itself is skipped and cut by it; any other is tested.
        exact = not _tested(query.filter)
        skip = query.skip if query.after is None else query.after.skip
        limit = query.limit + 1 if exact else _INSPECTED + 1
        at_once = exact and query.view is View.BASIC
        found, total = await asyncio.gather(
            self._candidates(query, skip if exact else 0, limit, _LIGHT if at_once else _TESTED), self._total(query)
        )
        at_end = len(found) < limit
        passed, last, left = _passed(query, found[: limit - 1], 0 if exact else skip)
        more = not at_end or last < len(found) - 1
        known = {one["_id"]: one for one in passed} if at_once else None
        jobs, cut = await self._read(query, passed, known)
        if cut is not None:
            return Page(tuple(jobs), _position(query, cut, 0), total)
        if not more or last < 0:
            return Page(tuple(jobs), None, total)
        return Page(tuple(jobs), _position(query, found[last], left), total)

    async def _total(self, query: ListQuery) -> int | None:
        if not query.with_total or not query.filter.counted:
            return None
        return await self._counts.total(query.queue, query.filter)

    async def _candidates(self, query: ListQuery, skip: int, limit: int, shape: Mapping[str, int]) -> list[Document]:
        """Jobs that the index finds, in order; `shape` says which fields."""
        soonest = query.order is Order.SOONEST
        condition = _indexed(query)
        if query.after is not None:
            condition.update(_beyond(query.after, soonest))
        order = [("due", 1), ("arrival", 1)] if soonest else [("arrival", -1)]
        return await self._jobs.run(
            lambda: self._jobs.documents(condition, shape).sort(order).skip(skip).limit(limit).to_list(),
            read_only=True,
        )

    async def _read(
        self, query: ListQuery, passed: Sequence[Document], known: Mapping[str, Document] | None
    ) -> tuple[list[Job], Document | None]:
        """The jobs themselves; and where what may be answered ended before them, the last candidate answered."""
        jobs: list[Job] = []
        room = limits.PAGE_BYTES
        heavy = query.view is View.FULL
        start = 0
        while start < len(passed):
            # As many as are sure to fit, and one at least.
            end, size = start, 0
            while end < len(passed) and (end == start or size + _size(passed[end], heavy=heavy) <= room):
                size += _size(passed[end], heavy=heavy)
                end += 1
            part = passed[start:end]
            documents = known
            if documents is None:
                documents = await self._jobs.by_id([one["_id"] for one in part], None if heavy else _LIGHT)
            for candidate in part:
                document = documents.get(candidate["_id"])
                if document is None or document["arrival"] != candidate["arrival"] or not _matches(query, document):
                    continue  # changed since it was found
                jobs.append(job_of(document, query.view))
                room -= _taken(document, heavy=heavy)
                if room <= 0 and candidate is not passed[-1]:
                    return jobs, candidate
            start = end
        return jobs, None


def _states(query: ListQuery) -> frozenset[State]:
    if query.order is Order.SOONEST:
        return query.filter.states or frozenset({State.SCHEDULED})
    return query.filter.states


def _indexed(query: ListQuery) -> Document:
    """The part of the filter that an index answers (indexes.py: arrivals, states, tags, pending)."""
    wanted, states = query.filter, _states(query)
    if wanted.tags and query.order is Order.NEWEST:
        name, value = next(iter(wanted.tags.items()))
        return {"queue": query.queue, "tags": f"{name}={value}"}
    condition = indexed(query.queue, states, wanted.types)
    if query.order is Order.SOONEST:
        # Only the partial index of pending jobs is in order of time; its condition must be seen to hold. Held ones are
        # not in it: nobody can tell when their turn comes.
        condition["state"] = {"$in": sorted(map(int, states)), "$lte": int(State.WAITING)}
    return condition


def _tested(wanted: JobFilter) -> bool:
    """Whether anything is left of the filter to be tested on the jobs."""
    if wanted.tags:
        return not (len(wanted.tags) == 1 and not wanted.states and not wanted.types and _windows_open(wanted))
    return not _windows_open(wanted)


def _windows_open(wanted: JobFilter) -> bool:
    windows = (wanted.scheduled, wanted.created, wanted.ended)
    return wanted.priority_min is None and wanted.priority_max is None and all(one == Window() for one in windows)


def _beyond(after: Position, soonest: bool) -> Document:
    if not soonest:
        return {"arrival": {"$lt": after.arrival}}
    beyond = [{"due": {"$gt": after.due}}, {"due": after.due, "arrival": {"$gt": after.arrival}}]
    return {"due": {"$gte": after.due}, "$or": beyond}  # the first is the index's bound, whatever is made of the others


def _passed(query: ListQuery, found: Sequence[Document], skip: int) -> tuple[list[Document], int, int]:
    """Candidates that match, as many as fill the page; the place of the last one looked at; what is left of skip."""
    passed: list[Document] = []
    for at, candidate in enumerate(found):
        if len(passed) == query.limit:
            return passed, at - 1, skip
        if not _matches(query, candidate):
            continue
        if skip > 0:
            skip -= 1
        else:
            passed.append(candidate)
    return passed, len(found) - 1, skip


def _position(query: ListQuery, last: Mapping[str, Any], skip: int) -> Position:
    due: datetime | None = last["due"] if query.order is Order.SOONEST else None
    return Position(int(last["arrival"]), due, skip)


def _matches(query: ListQuery, job: Mapping[str, Any]) -> bool:
    wanted, states = query.filter, _states(query)
    if (states and abs(job["state"]) not in states) or (wanted.types and job["type"] not in wanted.types):
        return False
    if wanted.priority_min is not None and job["priority"] < wanted.priority_min:
        return False
    if wanted.priority_max is not None and job["priority"] > wanted.priority_max:
        return False
    if not _inside(wanted.scheduled, job["due"]) or not _inside(wanted.created, job["create"]):
        return False
    if wanted.ended != Window() and (job["state"] not in ENDED or not _inside(wanted.ended, job["end"])):
        return False
    tags = job.get("tags", ())
    return all(f"{name}={value}" in tags for name, value in wanted.tags.items())


def _inside(window: Window, time: datetime) -> bool:
    return (window.start is None or time >= window.start) and (window.end is None or time < window.end)


def _size(candidate: Mapping[str, Any], *, heavy: bool) -> int:
    return _JOB_BYTES + (int(candidate["bytes"]) if heavy else 0)


def _taken(document: Mapping[str, Any], *, heavy: bool) -> int:
    size = _size(document, heavy=heavy) + sum(
        len(error["message"]) + len(error.get("trace", "")) for error in document.get("errors", ())
    )
    return size + (len(document.get("result") or b"") if heavy else 0) + sum(map(len, document.get("tags", ())))
