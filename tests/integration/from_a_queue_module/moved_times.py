"""Jobs whose times are moved behind the servers' backs, so that nobody waits for days."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, cast

from contract.backdating import Backdate, MongoBackdate, RedisBackdate
from pymongo import MongoClient
from redis import Redis
from support.mongo_backend import JOBS
from support.servers import Server
from tocsin import Client
from tocsin_server.domain.job import Job, View
from tocsin_server.store.redis.connection.connection import RedisConnection
from tocsin_server.store.redis.keys import Keys
from tocsin_server.store.redis.store import RedisStore

NAMESPACE = "tocsin"


def backdated(server: Server, client: Client, job_ids: Sequence[str], **by: float) -> None:
    """Let these jobs of the queue "default" have ended so much earlier (days=7); the first of them is the oldest."""
    with _backdate(server, client, job_ids) as (backdate, jobs):
        # The oldest first: the server may trim what is old enough before all are moved.
        for younger, job in zip(reversed(range(len(jobs))), jobs, strict=True):
            backdate.end(job, by=timedelta(**by) + younger * timedelta(seconds=1))


def made_due(server: Server, client: Client, job_id: str) -> None:
    """Let a job that is for later be due, without a word to any server."""
    with _backdate(server, client, [job_id]) as (backdate, [job]):
        backdate.due(job, by=timedelta(days=1))


@contextmanager
def _backdate(server: Server, client: Client, job_ids: Sequence[str]) -> Iterator[tuple[Backdate, list[Job]]]:
    if url := server.env.get("MONGODB_URL"):
        with MongoClient[dict[str, Any]](url, tz_aware=True) as mongo:
            collection = mongo.get_default_database()[JOBS]
            # Queue and id are all that is asked of them.
            yield MongoBackdate(collection), [cast(Job, client.get(job_id)) for job_id in job_ids]
        return
    url = server.env["REDIS_URL"]
    with Redis.from_url(url) as redis:
        yield RedisBackdate(redis, Keys(NAMESPACE)), asyncio.run(_records(url, job_ids))


async def _records(url: str, job_ids: Sequence[str]) -> list[Job]:
    store = RedisStore(RedisConnection(url), NAMESPACE)
    try:
        found = await store.get("default", list(job_ids), View.BASIC)
    finally:
        await store.close()
    jobs = [job for job in found if isinstance(job, Job)]
    assert len(jobs) == len(job_ids), "some of them do not stand"
    return jobs
