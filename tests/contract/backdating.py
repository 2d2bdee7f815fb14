"""The one hook a store gives the suite: what would take hours has happened already."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from pymongo.collection import Collection
from redis import Redis
from tocsin_server.domain.job import Job
from tocsin_server.domain.states import State
from tocsin_server.store.redis.keys import Keys

_MILLISECOND = timedelta(milliseconds=1)
_A_STATEMENT = 40  # jobs: the server of the tests holds each against all that are listed


class Backdate(ABC):
    """Moves a time of standing jobs of one queue earlier, everywhere the store keeps it."""

    @abstractmethod
    def lease(self, *jobs: Job, by: timedelta) -> None:
        """The end of each one's lease; the jobs are ACTIVE."""

    @abstractmethod
    def due(self, *jobs: Job, by: timedelta) -> None:
        """Each one's schedule time; the jobs are SCHEDULED, and stay so until the store notices."""

    @abstractmethod
    def end(self, *jobs: Job, by: timedelta) -> None:
        """Each one's end; the jobs have ended."""


class RedisBackdate(Backdate):
    """Edits the record's header and the sorted sets beside it (lua/lib/job.lua, lua/lib/keys.lua)."""

    _DUE, _END, _LEASE = 23, 35, 35  # where six bytes of milliseconds begin in a record's header

    def __init__(self, client: Redis, keys: Keys) -> None:
        self._client = client
        self._keys = keys

    def lease(self, *jobs: Job, by: timedelta) -> None:
        for job in jobs:
            self._move(job, self._LEASE, by, ["a"])

    def due(self, *jobs: Job, by: timedelta) -> None:
        for job in jobs:
            self._move(job, self._DUE, by, ["s"])

    def end(self, *jobs: Job, by: timedelta) -> None:
        for job in jobs:
            self._move(job, self._END, by, ["f" if job.state is State.FAILED else "e", "x"])

    def _move(self, job: Job, at: int, by: timedelta, rows: list[str]) -> None:
        record, member = self._keys.record(job.queue, job.arrival), job.arrival.to_bytes(6, "big")
        before = int.from_bytes(self._bytes(record, at), "big")
        ms = by // _MILLISECOND
        pipe = self._client.pipeline()
        pipe.setrange(record, at, (before - ms).to_bytes(6, "big"))
        for row in rows:
            pipe.zincrby(f"{self._keys.root(job.queue)}:{row}", -ms, member)
        *_, moved = pipe.execute()
        assert moved > 0, f"{job.job_id} was not in a row of {job.state.name} jobs"
        self._mend_tick(job.queue)

    def _bytes(self, record: bytes, at: int) -> bytes:
        found = self._client.getrange(record, at, at + 5)
        assert isinstance(found, bytes)
        assert len(found) == 6, "no such record"
        return found

    def _mend_tick(self, queue: str) -> None:
        """The queue's tick record holds the first score of each of three rows."""
        for place, row in enumerate("sax", start=1):
            first = self._client.zrange(f"{self._keys.root(queue)}:{row}", 0, 0, withscores=True)
            ms = int(first[0][1]) if first else 0
            self._client.setrange(self._keys.tick(queue), 6 * place, ms.to_bytes(6, "big"))


class MongoBackdate(Backdate):
    """Edits the job's document (store/mongo/documents.py)."""

    def __init__(self, jobs: Collection[Any]) -> None:
        self._jobs = jobs

    def lease(self, *jobs: Job, by: timedelta) -> None:
        self._move(jobs, by, "lease")

    def due(self, *jobs: Job, by: timedelta) -> None:
        self._move(jobs, by, "due")

    def end(self, *jobs: Job, by: timedelta) -> None:
        self._move(jobs, by, "end", "expire")

    def _move(self, jobs: Sequence[Job], by: timedelta, *names: str) -> None:
        moved: dict[str, Any] = {name: {"$subtract": [f"${name}", by // _MILLISECOND]} for name in names}
        moved["writes"] = {"$add": ["$writes", 1]}  # whoever read the job before must see that it is another one now
        ids = [f"{job.queue}/{job.job_id}" for job in jobs]
        for start in range(0, len(ids), _A_STATEMENT):
            some = ids[start : start + _A_STATEMENT]
            stand = {"_id": {"$in": some}, **{name: {"$exists": True} for name in names}}
            done = self._jobs.update_many(stand, [{"$set": moved}])
            assert done.modified_count == len(some), f"of {some} not all stand, or have {names}"
