"""The one hook a store gives the suite: what would take hours has happened already."""

from __future__ import annotations

from abc import ABC, abstractmethod
from datetime import timedelta
from typing import Any

from pymongo.collection import Collection
from redis import Redis
from tocsin_server.domain.job import Job
from tocsin_server.domain.states import State
from tocsin_server.store.redis.keys import Keys

_MILLISECOND = timedelta(milliseconds=1)


class Backdate(ABC):
    """Moves a time of a standing job earlier, everywhere the store keeps it."""

    @abstractmethod
    def lease(self, job: Job, by: timedelta) -> None:
        """The end of its lease; the job is ACTIVE."""

    @abstractmethod
    def due(self, job: Job, by: timedelta) -> None:
        """Its schedule time; the job is SCHEDULED, and stays so until the store notices."""

    @abstractmethod
    def end(self, job: Job, by: timedelta) -> None:
        """Its end; the job has ended."""


class RedisBackdate(Backdate):
    """Edits the record's header and the sorted sets beside it (lua/lib/job.lua, lua/lib/keys.lua)."""

    _DUE, _END, _LEASE = 23, 35, 35  # where six bytes of milliseconds begin in a record's header

    def __init__(self, client: Redis, keys: Keys) -> None:
        self._client = client
        self._keys = keys

    def lease(self, job: Job, by: timedelta) -> None:
        self._move(job, self._LEASE, by, ["a"])

    def due(self, job: Job, by: timedelta) -> None:
        self._move(job, self._DUE, by, ["s"])

    def end(self, job: Job, by: timedelta) -> None:
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

    def lease(self, job: Job, by: timedelta) -> None:
        self._move(job, by, "lease")

    def due(self, job: Job, by: timedelta) -> None:
        self._move(job, by, "due")

    def end(self, job: Job, by: timedelta) -> None:
        self._move(job, by, "end", "expire")

    def _move(self, job: Job, by: timedelta, *names: str) -> None:
        which = {"_id": f"{job.queue}/{job.job_id}"}
        found = self._jobs.find_one(which)
        assert found is not None, f"{job.job_id} does not stand"
        moved = {name: found[name] - by for name in names}
        # Whoever read the job before must see that it is another one now.
        done = self._jobs.update_one({**which, "writes": found["writes"]}, {"$set": moved, "$inc": {"writes": 1}})
        assert done.modified_count == 1, f"{job.job_id} changed meanwhile"
