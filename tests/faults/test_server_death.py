"""A server is killed -9 while it runs jobs: none is lost, none is recorded twice, and poison buries no neighbour."""

from __future__ import annotations

import json
import random
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from google.protobuf.duration_pb2 import Duration
from support.eventually import until
from support.journal import Journal
from support.servers import Server, Supervisor
from support.stores import StoreBackend
from support.stubs import State, Stubs, request
from tocsin.v1 import job_pb2, job_service_pb2

WIDE = job_pb2.Retention(completed_for=Duration(seconds=86_400), failed_for=Duration(seconds=86_400))
LEASE = {"TOCSIN_LEASE__DURATION": "2s"}
#: The test's MongoDB server runs some 20 jobs a second. So its leases are longer, or they would be lost to waiting for
#: it, and its jobs too, or 10 would never be seen running at once; and there are fewer.
PATIENT = {"TOCSIN_LEASE__DURATION": "5s", "STEADY_TAKES": "0.3"}

FULL_ON_MONGO = pytest.mark.parametrize(
    "store", ["redis", pytest.param("mongo", marks=pytest.mark.full)], indirect=True
)


def schedule(stubs: Stubs, jobs: list[job_service_pb2.ScheduleJobRequest]) -> None:
    """Schedule all, 1,000 a call."""
    for start in range(0, len(jobs), 1000):
        answer = stubs.jobs.BatchScheduleJobs(
            job_service_pb2.BatchScheduleJobsRequest(requests=jobs[start : start + 1000])
        )
        assert all(result.HasField("response") for result in answer.results)


def kill_one_of_two(
    store: StoreBackend, serve: Callable[..., Server], journal: Journal, *, jobs: int, settings: Mapping[str, str]
) -> None:
    """Two servers, many jobs, one server killed when a quarter is done; then every promise is checked."""
    doomed, other = (serve(store.url, handlers="support.jobs.steady", **settings, **journal.env) for _ in range(2))
    with Stubs(other.address) as stubs:
        schedule(stubs, [request("work", "steady", job_id=str(n), retention=WIDE) for n in range(jobs)])

        def running() -> set[str]:
            ended = {(line.job_id, line.attempt) for line in journal.lines("end")}
            return {
                line.job_id
                for line in journal.lines("start")
                if line.pid == doomed.pid and (line.job_id, line.attempt) not in ended
            }

        until(
            lambda: len(journal.lines("end")) >= jobs // 4 and len(running()) >= 10,
            within=30 + jobs * 0.05,
            what="a quarter done and 10 running on the one to be killed",
        )
        doomed.kill()
        active_on_dead = len(stubs.list("work", State.ACTIVE))  # those of the other server are among them

        # The journal is asked, so that the store has nothing else to do.
        until(
            lambda: len({line.job_id for line in journal.lines("end")}) == jobs,
            within=jobs * 0.1 + 30,
            what=f"all {jobs} run",
        )
        until(lambda: stubs.health("work").counts.completed == jobs, within=30, what=f"all {jobs} completed")
        ended = stubs.list("work", State.COMPLETED)

    second_runs = {job_id: runs for job_id, runs in journal.starts().items() if runs > 1}
    assert len(ended) == jobs
    assert sorted(job.job_id for job in ended) == sorted(str(n) for n in range(jobs))
    assert 0 < len(second_runs) <= active_on_dead
    assert set(second_runs.values()) == {2}
    crashed = {job.job_id for job in ended if job.errors}
    assert set(second_runs) <= crashed, "a job ran twice that no lease was lost of"
    outcomes = Counter(line.job_id for line in journal.lines("end") if line.pid == other.pid)
    assert max(outcomes.values()) == 1


def test_of_two_servers_one_is_killed_and_all_jobs_complete_with_one_outcome_each(
    store: StoreBackend, serve: Callable[..., Server], journal: Journal
) -> None:
    jobs, settings = {"redis": (400, LEASE), "mongo": (100, PATIENT)}[store.provider]
    kill_one_of_two(store, serve, journal, jobs=jobs, settings=settings)


@pytest.mark.full
@pytest.mark.timeout(400)
def test_the_same_with_2000_jobs(store: StoreBackend, serve: Callable[..., Server], journal: Journal) -> None:
    settings = {"redis": LEASE, "mongo": PATIENT | {"TOCSIN_LEASE__DURATION": "20s"}}[store.provider]
    kill_one_of_two(store, serve, journal, jobs=2000, settings=settings)


@FULL_ON_MONGO
def test_poison_fails_after_3_runs_and_buries_no_neighbour(
    store: StoreBackend, serve: Callable[..., Server], journal: Journal
) -> None:
    server = serve(store.url, handlers="support.jobs.steady", **LEASE, **journal.env)
    server.kill()
    with Supervisor(server) as supervisor, Stubs(server.address) as stubs:
        neighbours = [f"neighbour-{n}" for n in range({"redis": 60, "mongo": 20}[store.provider])]
        jobs = [request("work", "steady", job_id=name, retention=WIDE) for name in neighbours]
        jobs.insert(len(jobs) // 3, request("work", "poison", job_id="poison", retention=WIDE))
        schedule(stubs, jobs)

        quiet = serve(store.url, "--no-dispatch")
        with Stubs(quiet.address) as looking:
            until(lambda: looking.get("work", "poison").state == State.FAILED, within=60, what="poison buried")
            buried = looking.get("work", "poison")
            until(lambda: looking.health("work").counts.completed == len(neighbours), within=30)
            assert all(looking.get("work", name).state == State.COMPLETED for name in neighbours)
    # Whichever server took a lease back says so; the third run died alone, as its own server says.
    logs = "".join(each.log.read_text() for each in (server, quiet)).splitlines()
    told = [
        line for line in map(json.loads, (line for line in logs if line[:1] == "{")) if line.get("job_id") == "poison"
    ]
    assert [(line["event"], line["attempt"]) for line in told if line["event"] != "attempt_lost"] == [
        ("attempt_crashed", 3),
        ("job_failed", 3),
    ]
    assert sorted(line["attempt"] for line in told if line["event"] == "attempt_lost") == [1, 2]
    assert journal.starts()["poison"] == 3
    assert (buried.attempt, buried.crashes, buried.failures) == (3, 3, 0)
    assert buried.errors[-1].type == "POISON"
    assert supervisor.deaths == 2, "the 3rd run should have died alone, in a process of its own"
    assert max(journal.starts()[name] for name in neighbours) <= 3


@FULL_ON_MONGO
def test_long_jobs_outlive_one_pill_after_another(
    store: StoreBackend, serve: Callable[..., Server], journal: Journal, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    settings = {"redis": LEASE, "mongo": PATIENT}[store.provider]
    server = serve(store.url, handlers="support.jobs.gates", GATE=str(gate), **settings, **journal.env)
    server.kill()
    quiet = serve(store.url, "--no-dispatch")
    with Supervisor(server) as supervisor, Stubs(quiet.address) as stubs:
        neighbours = ["long-1", "long-2", "long-3"]
        for name in neighbours:
            stubs.schedule("work", "gated", job_id=name, retention=WIDE)

        def run_again(than: Counter[str]) -> bool:
            starts = journal.starts()
            return all(starts[name] > than[name] for name in neighbours)

        until(lambda: run_again(Counter()), within=30, what="neighbours run")
        for pill in ("pill-1", "pill-2"):
            before = journal.starts()
            stubs.schedule("work", "pill", job_id=pill, retention=WIDE)
            until(lambda: stubs.get("work", pill).state == State.FAILED, within=90, what="a pill buried")  # noqa: B023
            buried = stubs.get("work", pill)
            assert (buried.attempt, buried.crashes, buried.errors[-1].type) == (3, 3, "POISON")
            until(lambda: run_again(before), within=60, what="neighbours run again")  # noqa: B023
        assert supervisor.deaths == 4
        # Three lost leases in a row are no proof against them.
        assert max(stubs.get("work", name).crashes for name in neighbours) >= 3
        gate.touch()
        for name in neighbours:
            assert stubs.wait_for("work", name).state == State.COMPLETED


@FULL_ON_MONGO
def test_jobs_go_on_after_repeated_kills_at_random_moments(
    store: StoreBackend, serve: Callable[..., Server], journal: Journal
) -> None:
    chance = random.Random(20_261_124)
    jobs, settings = {"redis": (200, LEASE), "mongo": (60, PATIENT)}[store.provider]
    server = serve(store.url, handlers="support.jobs.steady", **settings, **journal.env)
    with Stubs(server.address) as stubs:
        schedule(stubs, [request("work", "steady", job_id=str(n), retention=WIDE) for n in range(jobs)])
    done = 0
    for _ in range(2):
        done += chance.randrange(jobs // 10, jobs // 3)
        until(lambda: len(journal.lines("end")) >= done, within=30)  # noqa: B023  # read before it changes
        server.kill()
        server.restart()
    with Stubs(server.address) as stubs:
        end = time.monotonic() + 40
        until(lambda: stubs.health("work").counts.completed == jobs or time.monotonic() > end, within=45)
        assert [job.job_id for job in stubs.list("work") if job.state != State.COMPLETED] == []
