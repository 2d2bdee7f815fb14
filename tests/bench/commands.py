"""What each program asks of the database: commands by verb for each job, counted between the two."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from support.mongo_servers import MongoServer
from support.stubs import request
from tocsin.v1 import job_pb2, job_service_pb2

from bench import measures
from bench.agenda import COLLECTION as AGENDA_COLLECTION
from bench.agenda import DATABASE, NAME, Agenda
from bench.bed import DATA, QUEUE, Bed, flying
from bench.mongo_bed import COLLECTION, MongoSizes, address, fill, mongo_bed, page
from bench.wire import Tally, WireTap

State = job_pb2.Job.State


@dataclass(frozen=True, slots=True)
class Spending:
    """What one step cost: commands by verb and collection. `of`: jobs, calls or seconds, as `unit` says."""

    program: str
    step: str
    of: float
    unit: str
    tallies: Mapping[str, Tally]

    @property
    def commands(self) -> float:
        """Commands for each, without those that wait on a change stream: how many those are is the server's affair."""
        return sum(tally.commands for name, tally in self.tallies.items() if not name.startswith("getMore")) / self.of


async def of_tocsin(folder: Path, mongo: MongoServer, sizes: MongoSizes) -> list[Spending]:
    """What Tocsin costs: idle, then each kind of call. What it does when idle goes on and is in each figure."""
    here, found = sizes.here, []
    single = min(10, here.single)

    with WireTap(mongo.port, COLLECTION) as tap, mongo_bed(folder, mongo, port=tap.port) as bed:

        @asynccontextmanager
        async def spent(step: str, of: float, unit: str = "job") -> AsyncIterator[None]:
            tap.take()
            yield
            found.append(Spending("Tocsin", step, of, unit, tap.take()))

        later = request(QUEUE, "noop", DATA, delay=3600)
        await bed.batches([later])  # the queue stands, and its type is known
        async with spent("idle", sizes.idle, "second"):
            await asyncio.sleep(sizes.idle)
        ids = [f"cancel-{number}" for number in range(here.cancels)]
        await bed.batches([request(QUEUE, "noop", DATA, job_id=one, delay=3600) for one in ids])
        cancels = [job_service_pb2.CancelJobRequest(queue=QUEUE, job_id=one) for one in ids]
        async with spent("cancel, 64 in flight", here.cancels):
            await flying(64, [lambda one=one: bed.jobs.CancelJob(one) for one in cancels])
        await fill(bed, sizes.standing)
        async with spent("list page of 100", sizes.pages, "page"):
            await flying(1, [lambda: bed.jobs.ListJobs(page())] * sizes.pages)
        async with spent("queue health", sizes.pages, "call"):
            await flying(1, [bed.counts] * sizes.pages)  # GetQueueHealth
        async with spent("schedule, one at a time", single):
            await flying(1, [lambda: bed.jobs.ScheduleJob(later)] * single)
        async with spent("schedule, 64 in flight", here.unary):
            await flying(64, [lambda: bed.jobs.ScheduleJob(later)] * here.unary)
        async with spent("schedule, batches", here.batch):
            await bed.batches([later] * here.batch)
        ids = [f"batch-{one}" for one in ids]
        await bed.batches([request(QUEUE, "noop", DATA, job_id=one, delay=3600) for one in ids])
        async with spent("cancel, batches", here.cancels):
            await bed.jobs.BatchCancelJobs(job_service_pb2.BatchCancelJobsRequest(queue=QUEUE, job_ids=ids))
        await bed.empty(State.SCHEDULED, State.CANCELLED, State.COMPLETED)
        async with spent("one job to its end, watched", single):
            await _one_to_the_end(bed, single)
        await bed.pause(True)
        await bed.batches([request(QUEUE, "noop", DATA)] * here.run)
        async with spent("run, from a full queue", here.run):
            await bed.pause(False)
            await bed.until_completed(single + here.run)
    return found


async def _one_to_the_end(bed: Bed, jobs: int) -> None:
    await measures.starting(bed, measures.Sizes(single=jobs))


def of_agenda(agenda: Agenda, mongo: MongoServer, sizes: MongoSizes) -> list[Spending]:
    """What Agenda costs; each step has its own start (index and all) in it."""
    here, found = sizes.here, []
    with WireTap(mongo.port, AGENDA_COLLECTION) as tap:
        through = address(tap.port, DATABASE)

        def spent(step: str, measure: str, of: float, unit: str = "job", **asked: float) -> None:
            tap.take()
            agenda.ask(measure, through=through, **asked)
            found.append(Spending(NAME, step, of, unit, tap.take()))

        spent("idle, processEvery 200 ms", "idle", sizes.idle, "second", seconds=sizes.idle, every=200)
        spent("schedule", "schedule", here.unary, jobs=here.unary, warm=0)
        spent("schedule and cancel", "cancel", here.cancels, jobs=here.cancels)
        spent("schedule and run", "run", here.run, jobs=here.run)
    return found
