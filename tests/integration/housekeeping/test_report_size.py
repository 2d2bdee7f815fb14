"""A report of many jobs is right, and made in bounded memory."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from google.protobuf.duration_pb2 import Duration
from support.eventually import until
from support.journal import Journal
from support.redis_backend import RedisBackend
from support.servers import Server
from support.stubs import ENDED, State, Stubs, request
from tocsin.v1 import job_pb2, job_service_pb2
from tocsin.v1.payloads_pb2 import DataCleanup, ReportGeneration

from integration.housekeeping.test_end_to_end import ended, result_of, run

TYPES = ("charge", "resize", "mail")
QUICK = job_pb2.RetryPolicy(max_attempts=5, initial_delay=Duration(nanos=1_000_000), jitter=0)
KEPT = {"TOCSIN_RETENTION__COMPLETED_MAX": "100000"}

#: Pages of 200 jobs, histograms, tables and the files: less than 1 MiB was seen. 50,000 jobs kept would take 50 MiB.
MOST_MEMORY = 12 << 20


def memory(server: Server, name: str) -> int:
    """VmRSS, the process's memory now, or VmHWM, the most it has had; bytes."""
    [line] = [line for line in Path(f"/proc/{server.pid}/status").read_text().splitlines() if line.startswith(name)]
    return int(line.split()[1]) * 1024


def do(stubs: Stubs, queue: str, number: int) -> None:
    """Jobs of three types: of 100, four die, two fail once, three are cancelled before their time."""
    for start in range(0, number, 1_000):
        requests = []
        for n in range(start, min(start + 1_000, number)):
            data = {"dies": True} if n % 25 == 3 else {"fails": 1} if n % 50 == 4 else None
            delay = 7_200 if n % 100 in (7, 8, 9) else None
            requests.append(request(queue, TYPES[n % 3], data, job_id=f"job-{n}", retry=QUICK, delay=delay))
        stubs.jobs.BatchScheduleJobs(job_service_pb2.BatchScheduleJobsRequest(requests=requests))

    def all_ran() -> bool:
        counts = stubs.health(queue).counts
        return (counts.scheduled, counts.waiting, counts.active) == (number * 3 // 100, 0, 0)

    until(all_ran, within=30 + number / 100, what="all ran")
    stubs.jobs.BatchCancelJobs(
        job_service_pb2.BatchCancelJobsRequest(queue=queue, states=[State.SCHEDULED]), timeout=60
    )
    assert sum(ended(stubs, queue)) == number


def percentile(spans: list[timedelta], share: float) -> float:
    return sorted(spans)[math.ceil(share * len(spans)) - 1].total_seconds()


@pytest.mark.timeout(600)
@pytest.mark.parametrize("jobs", [1_000, pytest.param(50_000, marks=pytest.mark.full)])
def test_a_report_of_many_jobs_is_made_in_bounded_memory_and_agrees_with_the_journal(
    jobs: int, redis: RedisBackend, serve: Callable[..., Server], journal: Journal, tmp_path: Path
) -> None:
    worker = serve(redis.url, handlers="support.jobs.mixed", TOCSIN_CONCURRENCY="500", **KEPT, **journal.env)
    with Stubs(worker.address) as stubs:
        do(stubs, "work", jobs)
    assert worker.stop() == 0
    server = serve(redis.url, TOCSIN_REPORTS__FOLDER=str(tmp_path / "reports"), **KEPT)
    with Stubs(server.address) as stubs:
        run(stubs, "admin", report_generation=ReportGeneration())  # of nothing: what is needed once is there then
        before = memory(server, "VmRSS")
        job = run(stubs, "admin", report_generation=ReportGeneration(queue="work"))
        grown = memory(server, "VmHWM") - before
        result = result_of(job)
        standing = stubs.list("work", *ENDED)
    assert grown < MOST_MEMORY

    noted = Counter(line.event for line in journal.lines())
    of_type = {
        type_: Counter({kind: noted[f"{type_} {kind}"] for kind in ("completed", "failed", "repeated")})
        for type_ in TYPES
    }
    all_types = sum(of_type.values(), Counter[str]())
    assert (result["completed"], result["failed"]) == (all_types["completed"], all_types["failed"])
    assert (result["cancelled"], result["repeated_attempts"]) == (jobs * 3 // 100, all_types["repeated"])
    assert result["sure_of_all"]
    [name] = [name for name in result["files"] if name.endswith(".json")]
    figures = json.loads((tmp_path / "reports" / name).read_text())
    for line in figures["types"]:
        wanted = of_type[line["type"]]
        assert (line["completed"], line["failed"], line["repeated_attempts"]) == (
            wanted["completed"],
            wanted["failed"],
            wanted["repeated"],
        )
    died = {line["type"]: line["jobs"] for line in figures["failures"] if line["error"] == "DoNotRetry"}
    assert died == {type_: counts["failed"] for type_, counts in of_type.items()}

    ran = [job for job in standing if job.state != State.CANCELLED]
    waits = [job.start_time.ToDatetime() - job.schedule_time.ToDatetime() for job in ran]
    runs = [job.end_time.ToDatetime() - job.start_time.ToDatetime() for job in ran]
    for spans, said in ((waits, result["wait_seconds"]), (runs, result["run_seconds"])):
        assert (said["count"], said["max"]) == (len(ran), pytest.approx(max(spans).total_seconds(), abs=0.0006))
        for name, share in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99)):
            assert said[name] == pytest.approx(percentile(spans, share), rel=0.01)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("jobs", [1_000, pytest.param(50_000, marks=pytest.mark.full)])
def test_a_cleanup_of_many_jobs_is_made_in_bounded_memory(
    jobs: int, redis: RedisBackend, serve: Callable[..., Server]
) -> None:
    server = serve(redis.url, **KEPT)
    with Stubs(server.address) as stubs:
        for start in range(0, jobs, 1_000):
            requests = [request("work", "charge", delay=7_200) for _ in range(start, start + 1_000)]
            stubs.jobs.BatchScheduleJobs(job_service_pb2.BatchScheduleJobsRequest(requests=requests))
        stubs.jobs.BatchCancelJobs(
            job_service_pb2.BatchCancelJobsRequest(queue="work", states=[State.SCHEDULED]), timeout=60
        )
        assert ended(stubs, "work") == (0, 0, jobs)
        old = stubs.health("work").as_of.ToDatetime() + timedelta(seconds=1)
        until(lambda: stubs.health("work").as_of.ToDatetime() > old, within=5, what="all are a second old")
        before = memory(server, "VmHWM")
        job = run(stubs, "admin", data_cleanup=DataCleanup(queue="work", older_than=Duration(seconds=1)))
        grown = memory(server, "VmHWM") - before
        assert ended(stubs, "work") == (0, 0, 0)
    assert (job.progress.fraction, job.progress.message) == (1, f"deleted {jobs:,} of {jobs:,} jobs at most")
    assert result_of(job)["counts"] == [{"state": "CANCELLED", "type": "charge", "jobs": jobs}]
    assert grown < MOST_MEMORY
