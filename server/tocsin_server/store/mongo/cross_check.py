"""Walks all jobs, some a step, then their logs and the places of limits. A job is one document, and what finds it are
the server's own indexes, so little can part: fields that contradict each other, a queue's document that was lost or
lags behind its jobs, a key whose jobs wait and that has no turn, dropped indexes, logs and places whose jobs are gone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Any

import structlog
from pymongo import UpdateOne

from tocsin_server.domain import limits
from tocsin_server.domain.states import ENDED, State
from tocsin_server.store.interface import Checked
from tocsin_server.store.mongo.clock import READ_NOW, ServerClock
from tocsin_server.store.mongo.documents import Document, set_alarm, span
from tocsin_server.store.mongo.job_logs import JobLogs
from tocsin_server.store.mongo.jobs import Jobs
from tocsin_server.store.mongo.places import LimitPlaces
from tocsin_server.store.mongo.queues import QueueDocuments
from tocsin_server.store.mongo.turns import Turns

_log: structlog.typing.FilteringBoundLogger = structlog.get_logger()

_JOBS_A_STEP = 100
_FIELDS = ("queue", "state", "arrival", "lease", "end", "expire", "writes", "spec.retention")
_OF_ALARMS = ("conditions", "key", "attempt", "due", "open", "untold", "errand")
_OF_TURNS = ("id", "type", "unfiled")


class CrossCheck:
    """JobStore.check. `prepare` makes the indexes that are missing. Goes on where its last step ended."""

    def __init__(
        self,
        clock: ServerClock,
        jobs: Jobs,
        logs: JobLogs,
        queues: QueueDocuments,
        places: LimitPlaces,
        turns: Turns,
        prepare: Callable[[], Awaitable[None]],
    ) -> None:
        self._places = places
        self._turns = turns
        self._logs_done = False
        self._clock = clock
        self._jobs = jobs
        self._logs = logs
        self._queues = queues
        self._prepare = prepare
        self._after = ""
        self._counters: dict[str, int] = {}  # arrivals of the last step's queues, as their documents say

    async def step(self) -> Checked:
        """As JobStore.check."""
        ahead = await self._clock.ahead()
        found = await self._next()
        mended: Counter[str] = Counter()
        if not found:
            done = False
            if not self._logs_done:
                mended["logs of no job"], self._logs_done = await self._logs.check()
            if self._logs_done:
                mended["places that nobody has"], done = await self._places.check()
            if done:
                self._after, self._counters, self._logs_done = "", {}, False
                await self._prepare()
            return Checked(+mended, done=done)
        writes = []
        for job in found:
            try:
                update = _mended(job, job["now"] + ahead)
            except (KeyError, TypeError, ValueError, OverflowError):
                _log.exception("job_not_checked", document=str(job["_id"]))  # a hand's work; the others go on
                continue
            if update is not None:
                # Only while nobody else has written it: then it is another one, and the next pass looks at that.
                writes.append(UpdateOne({"_id": job["_id"], "writes": job["writes"]}, update))
        if writes:
            written = await self._jobs.run(lambda: self._jobs.collection.bulk_write(writes, ordered=False))
            mended["jobs whose times were not those of their state"] += written.modified_count
        mended["keys without a turn"] += await self._turns.check(
            [job for job in found if job["state"] == State.WAITING and "unfiled" not in job]
        )
        highest: dict[str, int] = {}
        for job in found:
            highest[job["queue"]] = max(highest.get(job["queue"], 0), int(job["arrival"]))
        for queue in await self._lagging(highest):
            held = await self._queues.hold(queue, highest[queue])
            mended["queues without a name or with a wrong counter"] += held
        self._after = found[-1]["_id"]
        return Checked(+mended, done=False)

    async def _lagging(self, highest: Mapping[str, int]) -> list[str]:
        """Queues whose document is not there, or behind their jobs; by one command, and none where the last step's
        answer is enough: a queue's jobs follow each other."""
        self._counters = {queue: number for queue, number in self._counters.items() if queue in highest}
        if unsure := [queue for queue, arrival in highest.items() if self._counters.get(queue, -1) < arrival]:
            self._counters |= await self._queues.arrivals(unsure)
        return [queue for queue in unsure if self._counters.get(queue, -1) < highest[queue]]

    async def _next(self) -> list[Document]:
        pipeline: list[Document] = [
            {"$match": {"_id": {"$gt": self._after}}},
            {"$sort": {"_id": 1}},
            {"$limit": _JOBS_A_STEP},
            {"$project": dict.fromkeys((*_FIELDS, *_OF_ALARMS, *_OF_TURNS), 1)},
            READ_NOW,
        ]

        async def ask() -> list[Document]:
            return await (await self._jobs.collection.aggregate(pipeline)).to_list()

        return await self._jobs.run(ask, read_only=True)


def _mended(job: Mapping[str, Any], now: datetime) -> Document | None:
    """The update that makes a job's times fit its state, None where they do."""
    state, values = State(abs(job["state"])), {}
    waits = state is State.BLOCKED and "open" in job
    if "errand" not in job and (waits or "untold" in job):
        values["errand"] = now
    if state is State.ACTIVE and "lease" not in job:
        values["lease"] = now  # nobody extends it, or it would be there: it is taken back
    gone = [] if state is State.ACTIVE else ["lease"]
    if state not in ENDED:
        gone += ["end"]
        alarmed = dict(job)
        set_alarm(alarmed, now)
        if "expire" not in alarmed:
            gone.append("expire")
        elif "expire" not in job:
            values["expire"] = alarmed["expire"]
    else:
        end = job.get("end", now)
        kept = job["spec"]["retention"]["failed_for" if state is State.FAILED else "completed_for"]
        if "end" not in job:
            values["end"] = end
        if "expire" not in job:
            values["expire"] = end + min(span(kept), limits.LAST_TIME - end)
    gone = [name for name in gone if name in job]
    if not values and not gone:
        return None
    update: Document = {"$inc": {"writes": 1}}
    if values:
        update["$set"] = values
    if gone:
        update["$unset"] = dict.fromkeys(gone, "")
    return update
