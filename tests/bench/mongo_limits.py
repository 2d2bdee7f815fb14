"""What the MongoDB-wire server does at all: Tocsin's documents and indexes, written by bare pymongo, one caller."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from pymongo import MongoClient, UpdateOne
from pymongo.collection import Collection
from pymongo.write_concern import WriteConcern
from support.mongo_servers import MongoServer
from tocsin_server.domain.defaults import SERVER_DEFAULTS, UNSET, JobRequest, terms
from tocsin_server.domain.job import Payload
from tocsin_server.domain.states import State
from tocsin_server.store.mongo.documents import new_document
from tocsin_server.store.mongo.indexes import JOBS

from bench.figures import Sample, Span, processor_seconds

Jobs = Collection[dict[str, Any]]
_DATABASE = "limits"
_WAITING = {"queue": "bench", "state": int(State.WAITING), "type": "noop"}
_CLAIM, _FINISH = "claim 20 by find and update_many", "finish 20 by update_many"
_BEST_FIRST = [("priority", -1), ("due", 1), ("arrival", 1)]


def limits(mongo: MongoServer, jobs: int) -> dict[str, Sample]:
    """Jobs a second of each kind of write, each on `jobs` jobs in a collection that is fresh."""
    found: dict[str, Sample] = {}

    def spent() -> float:
        return processor_seconds(mongo.process.pid)

    def timed(name: str, work: Callable[[], None], count: int = jobs) -> None:
        with Span(count, None, spent) as span:
            work()
        found[f"limit: {name}, jobs/s"] = Sample(span.rate.value, None, span.rate.store_us)

    documents = _documents(jobs)
    with _collection(mongo) as here:
        timed("insert one by one", lambda: _one_by_one(here, documents[: jobs // 2]), jobs // 2)
    with _collection(mongo) as here:
        timed("insert 200 a command", lambda: _inserted(here, documents))
        timed(_CLAIM, lambda: _claimed(here, _by_update_many))
        timed(_FINISH, lambda: _finished(here, documents))
    claim, finish = (found[f"limit: {name}, jobs/s"] for name in (_CLAIM, _FINISH))
    both = Sample(1 / (1 / claim.value + 1 / finish.value), None, (claim.store_us or 0) + (finish.store_us or 0))
    found[f"limit: {_CLAIM}, and finish, jobs/s"] = both
    with _collection(mongo) as here:
        _inserted(here, documents)
        timed("claim 20 by find and 20 updates in one command", lambda: _claimed(here, _by_bulk))
    with _collection(mongo) as here:
        _inserted(here, documents)
        timed("claim one by one, find_one_and_update", lambda: _taken_singly(here))
    return found


@contextmanager
def _collection(mongo: MongoServer) -> Iterator[Jobs]:
    with MongoClient[dict[str, Any]](mongo.url, tz_aware=True) as client:
        client.drop_database(_DATABASE)
        jobs = client[_DATABASE].get_collection("jobs", write_concern=WriteConcern(w="majority", j=True))
        jobs.create_indexes([index.model() for index in JOBS])
        yield jobs
        client.drop_database(_DATABASE)


def _documents(count: int) -> list[dict[str, Any]]:
    one = JobRequest("bench", "noop", Payload(10, bytes(110))).draft(terms(UNSET, SERVER_DEFAULTS))
    now = datetime.now(UTC)
    return [new_document(one, f"job-{number}", number, now) for number in range(count)]


def _one_by_one(jobs: Jobs, documents: Sequence[dict[str, Any]]) -> None:
    for document in documents:
        jobs.insert_one(document)


def _inserted(jobs: Jobs, documents: Sequence[dict[str, Any]]) -> None:
    for start in range(0, len(documents), 200):
        jobs.insert_many(documents[start : start + 200], ordered=False)


def _claimed(jobs: Jobs, take: Callable[[Jobs, Sequence[str], dict[str, Any]], None]) -> None:
    while best := [one["_id"] for one in jobs.find(_WAITING, {"_id": 1}).sort(_BEST_FIRST).limit(20)]:
        token = secrets.token_bytes(8)
        now = datetime.now(UTC)
        lease = {"state": int(State.ACTIVE), "start": now, "lease": now + timedelta(seconds=30), "token": token}
        take(jobs, best, lease)
        list(jobs.find({"_id": {"$in": best}, "token": token}))


def _by_update_many(jobs: Jobs, ids: Sequence[str], lease: dict[str, Any]) -> None:
    jobs.update_many({"_id": {"$in": ids}, "state": int(State.WAITING)}, {"$set": lease, "$inc": {"attempt": 1}})


def _by_bulk(jobs: Jobs, ids: Sequence[str], lease: dict[str, Any]) -> None:
    guard = {"state": int(State.WAITING)}
    update = {"$set": lease, "$inc": {"attempt": 1}}
    jobs.bulk_write([UpdateOne({"_id": one, **guard}, update) for one in ids], ordered=False)


def _finished(jobs: Jobs, documents: Sequence[dict[str, Any]]) -> None:
    now = datetime.now(UTC)
    end = {"state": int(State.COMPLETED), "end": now, "expire": now + timedelta(days=1)}
    for start in range(0, len(documents), 20):
        ids = [document["_id"] for document in documents[start : start + 20]]
        jobs.update_many({"_id": {"$in": ids}, "state": int(State.ACTIVE)}, {"$set": end, "$unset": {"lease": ""}})


def _taken_singly(jobs: Jobs) -> None:
    lease = {"$set": {"state": int(State.ACTIVE), "token": secrets.token_bytes(8)}, "$inc": {"attempt": 1}}
    while jobs.find_one_and_update(_WAITING, lease, sort=_BEST_FIRST):
        pass
