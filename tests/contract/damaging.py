"""The hook by which tests spoil what a store holds, as a lost write, a hand or another program would."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from pymongo.collection import Collection
from redis import Redis
from tocsin_server.domain.job import Job
from tocsin_server.domain.states import State
from tocsin_server.store.redis.keys import Keys


class Damage(ABC):
    """Spoils one thing at a time, and leaves the rest as it was. A store that has no such thing spoils nothing."""

    @abstractmethod
    def lose_name(self, queue: str) -> None:
        """The queue is no longer among the names; its jobs stand."""

    @abstractmethod
    def misplace(self, job: Job) -> None:
        """What finds the job by its state (for claims, the end of its lease, of its retention) finds it no more."""

    @abstractmethod
    def lose_lists(self, queue: str) -> None:
        """What lists and counts by state, type and tag is gone."""

    @abstractmethod
    def miscount(self, queue: str) -> None:
        """Counters are wrong, and some are of what does not stand."""

    @abstractmethod
    def lose_ids(self, queue: str) -> None:
        """What leads from ids to jobs is gone."""

    @abstractmethod
    def lose_clock(self, queue: str) -> None:
        """What says when something is to be done next is gone."""

    @abstractmethod
    def lose_alarms(self, queue: str) -> None:
        """What says when jobs end by themselves, and which have a key, is gone."""

    @abstractmethod
    def lose_head(self, queue: str) -> None:
        """What is kept of the queue itself, its counters among it, is gone."""

    @abstractmethod
    def lose_filing(self, queue: str) -> None:
        """What leads claims to the jobs of keys, and says who has which place, is gone."""

    @abstractmethod
    def lose_record(self, job: Job) -> None:
        """The job itself is gone; what led to it stands."""


_ROWS = {
    State.SCHEDULED: "s",
    State.ACTIVE: "a",
    State.COMPLETED: "e",
    State.CANCELLED: "e",
    State.FAILED: "f",
}


class RedisDamage(Damage):
    """Edits keys (store/redis/keys.py, lua/lib/keys.lua)."""

    def __init__(self, client: Redis, keys: Keys) -> None:
        self._client = client
        self._keys = keys

    def lose_name(self, queue: str) -> None:
        assert self._client.srem(self._keys.queues, queue) == 1

    def misplace(self, job: Job) -> None:
        root, member = self._keys.root(job.queue), job.arrival.to_bytes(6, "big")
        if job.state is State.WAITING:
            member = int(job.schedule_time.timestamp() * 1000).to_bytes(6, "big") + member
        assert self._client.zrem(f"{root}:{_ROWS.get(job.state, 'w' + job.spec.type)}", member) == 1
        self._client.zrem(f"{root}:x", member)

    def lose_lists(self, queue: str) -> None:
        assert self._drop(queue, "i*") > 0
        assert self._drop(queue, "r*") > 0

    def miscount(self, queue: str) -> None:
        counters = f"{self._keys.root(queue)}:n"
        for name in self._client.hkeys(counters):
            self._client.hincrby(counters, name, -3)
        self._client.hset(counters, "4:ghost", 2)

    def lose_ids(self, queue: str) -> None:
        assert self._drop(queue, "d") == 1

    def lose_clock(self, queue: str) -> None:
        assert self._drop(queue, "k") == 1

    def lose_alarms(self, queue: str) -> None:
        assert self._drop(queue, "x") + self._drop(queue, "K*") > 0

    def lose_head(self, queue: str) -> None:
        assert self._drop(queue, "q") == 1

    def lose_filing(self, queue: str) -> None:
        for kind in "cgGtTpP":
            names = list(self._client.scan_iter(f"{self._keys.root(queue)}:{kind}*"))
            if names:
                self._client.delete(*names)

    def lose_record(self, job: Job) -> None:
        assert self._client.delete(self._keys.record(job.queue, job.arrival)) == 1

    def _drop(self, queue: str, suffix: str) -> int:
        names = list(self._client.scan_iter(f"{self._keys.root(queue)}:{suffix}"))
        return int(self._client.delete(*names)) if names else 0


class MongoDamage(Damage):
    """Edits documents (store/mongo/documents.py, queues.py), and drops indexes."""

    def __init__(self, jobs: Collection[Any]) -> None:
        self._jobs = jobs
        self._queues = jobs.database[f"{jobs.name}.queues"]
        self._turns = jobs.database[f"{jobs.name}.turns"]

    def lose_name(self, queue: str) -> None:
        assert self._queues.delete_one({"_id": queue}).deleted_count == 1

    def misplace(self, job: Job) -> None:
        # Where a job is found follows from its fields: those that contradict its state.
        spoiled: dict[str, Any] = {"$unset": dict.fromkeys(("lease", "end", "expire"), "")}
        if job.state in (State.SCHEDULED, State.WAITING):
            spoiled = {"$set": dict.fromkeys(("lease", "end", "expire"), job.create_time)}
        assert self._jobs.update_one({"_id": f"{job.queue}/{job.job_id}"}, spoiled).modified_count == 1

    def lose_lists(self, queue: str) -> None:
        self._jobs.drop_indexes()

    def miscount(self, queue: str) -> None:
        """Nothing is counted but index entries."""

    def lose_ids(self, queue: str) -> None:
        """The id is the job's own key."""

    def lose_clock(self, queue: str) -> None:
        """Nothing says so but the jobs themselves."""

    def lose_alarms(self, queue: str) -> None:
        self._jobs.update_many({"queue": queue}, {"$unset": {"expire": ""}})

    def lose_head(self, queue: str) -> None:
        self.lose_name(queue)

    def lose_filing(self, queue: str) -> None:
        self._turns.delete_many({"queue": queue})

    def lose_record(self, job: Job) -> None:
        assert self._jobs.delete_one({"_id": f"{job.queue}/{job.job_id}"}).deleted_count == 1
