"""Tocsin on a MongoDB-wire server, and what is measured of it beside what measures.py has."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pymongo import MongoClient
from support.journal import Journal
from support.mongo_servers import MongoServer
from support.servers import Server
from support.stubs import request
from tocsin.v1 import job_pb2, job_service_pb2
from tocsin_server.domain.states import State as Ended

from bench.agenda import CONCURRENCY
from bench.bed import DATA, QUEUE, Bed, flying
from bench.figures import Sample, processor_seconds
from bench.measures import Round, Sizes

State = job_pb2.Job.State
COLLECTION = "tocsin_jobs"
_DATABASE = "tocsin"


@dataclass(frozen=True, slots=True)
class MongoSizes:
    """How many of each; Agenda is measured at the same sizes. The server sorts without indexes, so queues are short."""

    here: Sizes
    larger: int  # a second run, of Tocsin alone
    pages: int
    standing: int  # jobs that pages are read from
    slow_starts: int  # one job at a time at Agenda's default, which waits 2.5 s for each; 0: not measured
    idle: float  # seconds
    within: float  # seconds that a run of Agenda may take


FULL = MongoSizes(Sizes(500, 1_500, 3_000, 100, 20, 50, 200, 0, 0, warm=20), 1_000, 20, 500, 4, 5, 60)
QUICK = MongoSizes(Sizes(100, 200, 400, 30, 5, 20, 30, 0, 0, warm=10), 0, 4, 150, 0, 2, 10)


def address(port: int, database: str) -> str:
    """A URL; direct, for a driver that asks who is in the replica set goes round whatever stands between."""
    return f"mongodb://127.0.0.1:{port}/{database}?directConnection=true"


class MongoBed(Bed):
    """On a database of a MongoDB-wire server. Made by `mongo_bed()`."""

    look_every = 0.25

    def __init__(
        self, mongo: MongoServer, client: MongoClient[dict[str, Any]], server: Server, journal: Journal
    ) -> None:
        self._jobs = client[_DATABASE][COLLECTION]
        super().__init__(server, journal, lambda: processor_seconds(mongo.process.pid))

    async def completed(self) -> int:
        """Asked past Tocsin, by one command: its own answer to GetQueueHealth is seven."""
        done = {"queue": QUEUE, "state": int(Ended.COMPLETED)}
        return await asyncio.to_thread(self._jobs.count_documents, done)


@contextmanager
def mongo_bed(folder: Path, mongo: MongoServer, *, port: int | None = None) -> Iterator[MongoBed]:
    """A fresh Tocsin on a database that is empty. `port`: where something passes on to the server."""
    folder.mkdir(parents=True)
    journal = Journal(folder / "journal.tsv")
    env = {
        "QUEUE_PROVIDER": "mongo",
        "MONGODB_URL": address(port or mongo.port, _DATABASE),
        "QUEUE_COLLECTION": COLLECTION,
        "TOCSIN_CONCURRENCY": str(CONCURRENCY),
        "TOCSIN_LOG__LEVEL": "warning",
        **journal.env,
    }
    with MongoClient[dict[str, Any]](mongo.url) as client:
        client.drop_database(_DATABASE)
        server = Server(folder, ["--handlers", "support.jobs.benchmark"], env)
        try:
            server.start()
            yield MongoBed(mongo, client, server, journal)
        finally:
            server.kill()


async def running(bed: Bed, jobs: int, suffix: str = "") -> Round:
    """No-op jobs run a second, from a queue that was filled before, until the last end by the store's clock."""
    before = await bed.completed()
    await bed.pause(True)
    await bed.batches([request(QUEUE, "noop", DATA)] * jobs)
    begun = datetime.now(UTC)
    with bed.span(jobs) as span:
        await bed.pause(False)
        await bed.until_completed(before + jobs)
    ended = [job.end_time.ToDatetime(UTC) for job in await bed.times(type="noop")]
    took = (max(ended) - begun).total_seconds()
    return {f"no-op jobs run/s{suffix}": Sample(jobs / took, span.rate.server_us, span.rate.store_us)}


def page(size: int = 100) -> job_service_pb2.ListJobsRequest:
    """A page of the jobs that `fill` has made, soonest first."""
    return job_service_pb2.ListJobsRequest(
        queue="listed", states=[State.SCHEDULED], types=["noop"], order_by="schedule_time", page_size=size
    )


async def fill(bed: Bed, count: int) -> None:
    """Jobs to be listed, in a queue of their own."""
    await bed.batches([request("listed", "noop", DATA, delay=3600)] * count)


async def listing(bed: Bed, sizes: MongoSizes) -> Round:
    """Pages of 100 a second, one at a time."""
    await fill(bed, sizes.standing)
    if len((await bed.jobs.ListJobs(page())).jobs) != 100:
        raise RuntimeError("the page is not full")
    with bed.span(sizes.pages) as span:
        await flying(1, [lambda: bed.jobs.ListJobs(page())] * sizes.pages)
    return {"list pages of 100/s": span.rate}


def named(prefix: str, found: Mapping[str, Sample]) -> Round:
    """The same figures under longer names."""
    return {f"{prefix}: {name}": sample for name, sample in found.items()}
