"""The lines that jobs' attempts wrote: a document a job, in a collection beside the jobs'. A job that has one says so
(`logged`), so that others cost nothing.

_id        "<queue>/<job_id>"
of         the job's arrival number: of another job that stood under this id nothing counts
last, head, first, head_bytes, tail_bytes   which lines there are, as domain/logs.py counts them
sizes      of the texts of the tail's lines, the oldest first, two bytes each
lines      {"<number of a line>": {time, attempt, level, text}}
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime

from bson.int64 import Int64
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import DuplicateKeyError

from tocsin_server.domain import limits
from tocsin_server.domain.errors import StoreAway
from tocsin_server.domain.logs import LogCounters, LoggedLine, LogLine, LogPage
from tocsin_server.domain.sealed import clear_text_size
from tocsin_server.store.log_pages import page_of, read_place
from tocsin_server.store.mongo.connection import MongoConnection
from tocsin_server.store.mongo.documents import Document, key

_COUNTERS = tuple(field.name for field in fields(LogCounters))
_ROUNDS = 50  # before a call gives up on a log that others keep writing: only the holder of its lease does
_LOGS_A_STEP = 100


@dataclass(frozen=True, slots=True)
class Written:
    """Lines of one attempt, to be kept. `begins`: the job has none yet."""

    queue: str
    job_id: str
    arrival: int
    attempt: int
    time: datetime
    lines: Sequence[LogLine]
    begins: bool


class JobLogs:
    """All queues' logs."""

    def __init__(self, connection: MongoConnection, collection: str) -> None:
        self._connection = connection
        self._jobs: AsyncCollection[Document] = connection.database[collection]
        self._logs: AsyncCollection[Document] = connection.database[f"{collection}.logs"]
        self._after = ""  # where the next step of `check` begins

    async def add(self, written: Sequence[Written]) -> None:
        """Keep these lines; several of one job are taken in order."""
        by_job: dict[str, list[Written]] = {}
        for one in written:
            by_job.setdefault(key(one.queue, one.job_id), []).append(one)
        await asyncio.gather(*(self._add_of(which, of_job) for which, of_job in by_job.items()))

    async def _add_of(self, which: str, written: Sequence[Written]) -> None:
        for one in written:
            for _ in range(_ROUNDS):
                if await self._write(which, one):
                    break
            else:
                raise StoreAway("others kept writing the same log")

    async def _write(self, which: str, one: Written) -> bool:
        """Whether nobody else was faster."""
        stands = None if one.begins else await self._counters(which, one.arrival)
        before = _counters_of(stands)
        standing = _sizes_of(stands)
        texts = [line.kept for line in one.lines]
        sizes = list(map(clear_text_size, texts))
        after = before.add(sizes, standing)
        values: Document = {name: Int64(getattr(after, name)) for name in _COUNTERS}
        tail = [*standing, *sizes][-(after.last - after.first + 1) :] if after.first else []
        values["sizes"] = struct.pack(f">{len(tail)}H", *tail)
        lines = {
            str(number): {"time": one.time, "attempt": one.attempt, "level": line.level, "text": text.decode()}
            for number, (line, text) in enumerate(zip(one.lines, texts, strict=True), before.last + 1)
            if number <= after.head or number >= after.first
        }
        if stands is None:
            # Not by `insert`: a store without room for new documents refuses that first.
            new = {"_id": which, "of": Int64(one.arrival), **values, "lines": lines}
            others = {"_id": which} if one.begins else {"_id": which, "of": {"$ne": one.arrival}}
            try:
                await self._connection.run(lambda: self._logs.replace_one(others, new, upsert=True))
            except DuplicateKeyError:
                return False
            return True
        update: Document = {"$set": values | {f"lines.{number}": line for number, line in lines.items()}}
        if before.first and (gone := range(before.first, min(after.first, before.last + 1))):
            update["$unset"] = {f"lines.{number}": "" for number in gone}
        as_read = {"_id": which, "of": one.arrival, "last": before.last}
        done = await self._connection.run(lambda: self._logs.update_one(as_read, update))
        return done.matched_count == 1

    async def read(self, queue: str, job_id: str, *, attempt: int, cursor: str) -> LogPage | None:
        """As JobStore.logs."""
        of, seen = read_place(cursor)
        which = key(queue, job_id)
        job = await self._connection.run(
            lambda: self._jobs.find_one({"_id": which}, {"arrival": 1, "logged": 1}), read_only=True
        )
        if job is None:
            return None
        arrival = int(job["arrival"])
        counters = _counters_of(await self._counters(which, arrival) if "logged" in job else None)
        if of != arrival or seen > counters.last:
            seen = 0
        numbers = counters.after(seen, limits.LOG_PAGE_LINES)
        lines: Document = {}
        if numbers:
            found = await self._connection.run(
                lambda: self._logs.find_one({"_id": which, "of": arrival}, {"lines": 1}), read_only=True
            )
            lines = found["lines"] if found else {}
        present = [(number, _line_of(lines[str(number)])) for number in numbers if str(number) in lines]
        return page_of(arrival, seen, counters.last, present, attempt=attempt)

    async def drop(self, gone: Mapping[str, int]) -> None:
        """These jobs are gone: their _ids and arrivals."""
        if gone:
            condition = {"_id": {"$in": list(gone)}, "of": {"$in": list(gone.values())}}
            await self._connection.run(lambda: self._logs.delete_many(condition))

    async def check(self) -> tuple[int, bool]:
        """A step of JobStore.check: how many logs of no job were deleted, and whether all were looked at."""
        found = await self._connection.run(
            lambda: (
                self._logs.find({"_id": {"$gt": self._after}}, {"of": 1}).sort("_id", 1).limit(_LOGS_A_STEP).to_list()
            ),
            read_only=True,
        )
        self._after = found[-1]["_id"] if found else ""
        if not found:
            return 0, True
        jobs = await self._connection.run(
            lambda: self._jobs.find({"_id": {"$in": [log["_id"] for log in found]}}, {"arrival": 1}).to_list(),
            read_only=True,
        )
        stand = {(job["_id"], int(job["arrival"])) for job in jobs}
        orphans = {log["_id"]: int(log["of"]) for log in found if (log["_id"], int(log["of"])) not in stand}
        await self.drop(orphans)
        return len(orphans), False

    async def _counters(self, which: str, arrival: int) -> Document | None:
        return await self._connection.run(
            lambda: self._logs.find_one({"_id": which, "of": arrival}, {"lines": 0}), read_only=True
        )


def _counters_of(document: Mapping[str, int] | None) -> LogCounters:
    return LogCounters() if document is None else LogCounters(*(int(document[name]) for name in _COUNTERS))


def _sizes_of(document: Document | None) -> Sequence[int]:
    sizes = b"" if document is None else bytes(document["sizes"])
    return struct.unpack(f">{len(sizes) // 2}H", sizes)


def _line_of(document: Document) -> LoggedLine:
    return LoggedLine(document["time"], document["attempt"], document["level"], document["text"])
