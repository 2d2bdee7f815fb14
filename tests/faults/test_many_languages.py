"""Workers in four languages on two servers, while workers and a server are killed and stopped; and how soon a cancel
reaches them."""

from __future__ import annotations

import math
import signal
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from support import example_workers, remote_workers
from support.eventually import until
from support.remote_workers import LANGUAGES, Program
from support.servers import Server
from support.stores import StoreBackend
from support.stubs import Stubs
from tocsin import Client, Job, State
from tocsin.v1 import worker_service_pb2, worker_service_pb2_grpc

SLOTS = 8
LEASE = 5  # seconds
JOB_MS = 150
#: Jobs in all, and over how many seconds they are due: on Redis so many that each worker has some of its slots in use.
#: The test's MongoDB server runs some 20 jobs a second.
SIZES = {"redis": (1_500, 13), "mongo": (240, 15)}

pytestmark = pytest.mark.timeout(600 + example_workers.BUILD_SECONDS)


@pytest.fixture
def programs() -> Iterator[list[Program]]:
    """What a test started; killed at its end."""
    started: list[Program] = []
    yield started
    for program in started:
        program.kill()


@pytest.fixture(scope="module")
def built(not_run: Callable[[str, str], None]) -> None:
    """All examples are built, or the test is not run."""
    for language in example_workers.LANGUAGES:
        try:
            example_workers.built(language)
        except example_workers.NotBuilt as trouble:
            not_run("languages", str(trouble))


def entries(stubs: Stubs, queue: str) -> list[worker_service_pb2.ListWorkersResponse.Entry]:
    """The workers of a queue, without the servers themselves."""
    workers = worker_service_pb2_grpc.WorkerServiceStub(stubs.channel)
    answer = workers.ListWorkers(worker_service_pb2.ListWorkersRequest(queue=queue))
    return [entry for entry in answer.workers if not entry.embedded]


def held_by(stubs: Stubs, queue: str, language: str) -> list[str]:
    """Ids of the jobs that a worker holds."""
    return [one.job_id for entry in entries(stubs, queue) if entry.worker.language == language for one in entry.held]


def all_jobs(client: Client, queue: str) -> list[Job]:
    return list(client.list(queue=queue, page_size=1000))


def test_each_job_has_one_outcome_whoever_dies(
    store: StoreBackend,
    serve: Callable[..., Server],
    built: None,
    programs: list[Program],
    record_property: Callable[[str, object], None],
    tmp_path: Path,
) -> None:
    jobs, spread = SIZES["mongo" if "mongo" in store.url else "redis"]
    first, second = serve(store.url), serve(store.url)
    servers, queue = [first.address, second.address], "work"
    logs = tmp_path / "logs"
    logs.mkdir()

    # Two workers begin on each server.
    workers: dict[str, Program] = {}
    for number, language in enumerate(LANGUAGES):
        order = servers if number % 2 == 0 else servers[::-1]
        workers[language] = remote_workers.worker(language, logs, order, queue, slots=SLOTS, lease=LEASE)
        programs.append(workers[language])

    with Client(first.address) as client, Stubs(first.address) as stubs:
        until(lambda: len(entries(stubs, queue)) == len(LANGUAGES), within=60, what="all workers are known")
        each = jobs // len(LANGUAGES)
        for language in LANGUAGES:
            size = {"jobs": each, "ms": JOB_MS, "spread_ms": spread * 1000}
            programs.append(remote_workers.scheduler(language, logs, servers, queue, **size))
        schedulers = programs[-len(LANGUAGES) :]

        def done(share: float) -> None:
            wanted = math.ceil(share * jobs)
            until(lambda: client.count(queue=queue, states=["COMPLETED"]) >= wanted, within=120, what=f"{wanted} done")

        done(0.2)
        workers["go"].kill()
        done(0.4)
        workers["node"].tell(signal.SIGSTOP)
        # Servers say some seconds late what workers hold.
        held = until(lambda: stuck(client, stubs, queue), within=60, what="jobs that the stopped worker holds")
        until(
            lambda: any(client.get(job_id, queue=queue).attempt > 1 for job_id in held),
            within=12 * LEASE,
            what="a job of the stopped worker is run by another",
        )
        workers["node"].tell(signal.SIGCONT)
        done(0.7)
        before = begun_again(all_jobs(client, queue))
        assert before <= 2 * SLOTS, "more than the killed and the stopped worker can have held"
        second.kill()
        for program in schedulers:
            assert program.ended(within=120) == 0, program.said()
        until(lambda: client.count(queue=queue, states=["COMPLETED"]) == 4 * each, within=180, what="all are done")

        found = all_jobs(client, queue)
        assert len(found) == 4 * each
        assert {job.state for job in found} == {State.COMPLETED}
        # What was on its way from the killed server is run again, too: none of its workers had more than their slots.
        again = begun_again(found)
        record_property("begun_again", f"{again} of {len(found)}, {before} of them before the server was killed")
        assert again <= before + 3 * SLOTS
        early = [job.job_id for job in found if begun_early(job)]
        assert early == []

    for language in ("node", "java", "python"):
        workers[language].tell(signal.SIGTERM)
        assert workers[language].ended(within=30) == 0, workers[language].said()


def stuck(client: Client, stubs: Stubs, queue: str) -> list[str]:
    """Ids of the jobs of the worker in TypeScript that are ACTIVE still."""
    held = held_by(stubs, queue, "typescript")
    return [job_id for job_id in held if client.get(job_id, queue=queue).state is State.ACTIVE]


def begun_again(jobs: list[Job]) -> int:
    """How many attempts were begun beside the first ones."""
    return sum(max(0, job.attempt - 1) for job in jobs)


def begun_early(job: Job) -> bool:
    """Whether its last attempt began before its time, all by the store's clock."""
    assert job.create_time is not None
    assert job.start_time is not None
    delay = timedelta(milliseconds=int(job.job_id.rpartition("-")[2]))
    return job.start_time < job.create_time + delay


CANCELS = 30


@pytest.mark.parametrize("program", ["worker", "poll"])
def test_a_cancel_reaches_workers_in_each_language(
    program: str,
    serve: Callable[..., Server],
    redis: StoreBackend,
    built: None,
    programs: list[Program],
    record_property: Callable[[str, object], None],
    tmp_path: Path,
) -> None:
    server = serve(redis.url)
    #: Seconds from ask to delivery: on a stream at once, with plain calls at the next heartbeat.
    most = 1.0 if program == "worker" else LEASE / 3 + 1.0
    with Client(server.address) as client:
        for language in LANGUAGES if program == "worker" else example_workers.LANGUAGES:
            asked = {"slots": CANCELS, "lease": LEASE, "program": program}
            programs.append(remote_workers.worker(language, tmp_path, [server.address], language, **asked))
        for language in LANGUAGES if program == "worker" else example_workers.LANGUAGES:
            jobs = [client.schedule("conformance.sleep", {"ms": 60_000}, queue=language) for _ in range(CANCELS)]
            until(lambda queue=language: client.count(queue=queue, states=["ACTIVE"]) == CANCELS, within=60)
            for job in jobs:
                client.cancel(job, grace=30)
            waits = []
            for job in jobs:
                ended = client.wait(job, timeout=30)
                assert ended.state is State.CANCELLED
                cancel = ended.cancel
                assert cancel is not None
                assert cancel.ask_time is not None
                assert cancel.deliver_time is not None
                waits.append((cancel.deliver_time - cancel.ask_time).total_seconds())
            record_property(f"{language}_{program}_longest_cancel", max(waits))
            assert max(waits) < most, f"{language}: {sorted(waits)[-5:]}"
