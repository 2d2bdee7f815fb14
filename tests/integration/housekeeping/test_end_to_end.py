"""data_cleanup and report_generation through a whole server, on each store."""

from __future__ import annotations

import asyncio
import csv
import json
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import json_format
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from support.eventually import until
from support.journal import Journal
from support.mail_server import mail_server
from support.ports import free_port
from support.servers import Server
from support.stores import StoreBackend
from support.stubs import ENDED, State, Stubs, refusal, request
from support.tcp_proxy import Fate, TcpProxy
from tocsin.v1 import bulk_pb2, job_pb2, job_service_pb2, queue_service_pb2
from tocsin.v1.payloads_pb2 import DataCleanup, ReportGeneration

from integration.housekeeping.conftest import Start

Connect = Callable[[Server], Stubs]
SECOND = Duration(seconds=1)
QUICK = job_pb2.RetryPolicy(max_attempts=5, initial_delay=Duration(nanos=1_000_000), jitter=0)
HTML, CSV, JSON = ReportGeneration.HTML, ReportGeneration.CSV, ReportGeneration.JSON


def result_of(job: job_pb2.Job) -> dict[str, Any]:
    assert job.state == State.COMPLETED, job.errors
    found = json_format.MessageToDict(job.result)["data"]
    assert isinstance(found, dict)
    return found


def run(stubs: Stubs, queue: str, **payload: Any) -> job_pb2.Job:
    """Schedule a job of a built-in type and wait for its end."""
    return stubs.wait_for(queue, stubs.jobs.ScheduleJob(request(queue, "", **payload)).job.job_id)


def mixed(stubs: Stubs, queue: str, number: int) -> None:
    """Jobs of three types: of 10, one dies, one fails twice before it ends well, one is cancelled before its time."""
    requests = []
    for n in range(number):
        data = {"dies": True} if n % 10 == 3 else {"fails": 2} if n % 10 == 5 else {}
        delay = 3_600 if n % 10 == 7 else None
        type_ = ("charge", "resize", "mail")[n % 3]
        requests.append(request(queue, type_, data, job_id=f"job-{n}", retry=QUICK, delay=delay))
    for start in range(0, number, 1_000):
        answer = stubs.jobs.BatchScheduleJobs(
            job_service_pb2.BatchScheduleJobsRequest(requests=requests[start : start + 1_000])
        )
        assert all(result.HasField("response") for result in answer.results)
    for n in range(7, number, 10):
        stubs.jobs.CancelJob(job_service_pb2.CancelJobRequest(queue=queue, job_id=f"job-{n}"))
    until(lambda: sum(ended(stubs, queue)) == number, within=30 + number / 100, what="all have ended")


def cancelled(stubs: Stubs, queue: str, number: int) -> None:
    """Jobs that were cancelled before their time: the quickest way to many that have ended."""
    for start in range(0, number, 1_000):
        ids = [f"{queue}-{n:03}" for n in range(start, min(start + 1_000, number))]
        requests = [request(queue, "charge", job_id=job_id, delay=3_600) for job_id in ids]
        stubs.jobs.BatchScheduleJobs(job_service_pb2.BatchScheduleJobsRequest(requests=requests))
    stubs.jobs.BatchCancelJobs(
        job_service_pb2.BatchCancelJobsRequest(queue=queue, states=[State.SCHEDULED]), timeout=60
    )
    assert ended(stubs, queue) == (0, 0, number)
    old = datetime.now(UTC) + timedelta(seconds=1.2)
    until(lambda: datetime.now(UTC) > old, within=5, what="all are a second old")


def ended(stubs: Stubs, queue: str) -> tuple[int, int, int]:
    counts = stubs.health(queue).counts
    return counts.completed, counts.failed, counts.cancelled


# --- data_cleanup ---


@pytest.mark.timeout(120)
def test_a_cleanup_deletes_what_it_is_told_to_and_says_what_it_did(start: Start, connect: Connect) -> None:
    stubs = connect(start(handlers="support.jobs.mixed"))
    mixed(stubs, "work", 60)
    old = datetime.now(UTC) + timedelta(seconds=1.2)
    dry = result_of(run(stubs, "work", data_cleanup=DataCleanup(older_than=Duration(seconds=3600))))
    assert (dry["deleted"], dry["counts"], dry["oldest_end"]) == (0, [], None)
    until(lambda: datetime.now(UTC) > old, within=5, what="all are a second old")

    asked = DataCleanup(older_than=SECOND, types=["charge", "mail"], states=["FAILED", "CANCELLED"], dry_run=True)
    dry = result_of(run(stubs, "work", data_cleanup=asked))
    assert (dry["dry_run"], dry["deleted"], dry["found"]) == (True, 0, 8)
    asked.dry_run = False
    wet = result_of(run(stubs, "admin", data_cleanup=DataCleanup(queue="work", **_words(asked))))
    assert (wet["queue"], wet["dry_run"], wet["deleted"]) == ("work", False, 8)
    assert wet["counts"] == dry["counts"]
    assert {(one["state"], one["type"]): one["jobs"] for one in wet["counts"]} == {
        ("FAILED", "charge"): 2,
        ("FAILED", "mail"): 2,
        ("CANCELLED", "charge"): 2,
        ("CANCELLED", "mail"): 2,
    }
    left = Counter((job.spec.type, job.state) for job in stubs.list("work", *ENDED))
    assert [kind for kind in left if kind[0] in ("charge", "mail") and kind[1] != State.COMPLETED] == []
    assert left["resize", State.FAILED] == 2


def _words(cleanup: DataCleanup) -> dict[str, Any]:
    return {field.name: value for field, value in cleanup.ListFields()}


@pytest.mark.timeout(120)
def test_a_cleanup_spares_itself_and_jobs_that_run(start: Start, connect: Connect) -> None:
    stubs = connect(start(handlers="support.jobs.everyday", TOCSIN_DRAIN__GRACE="0s"))
    stubs.schedule("work", "until_cancelled", job_id="runs")
    stubs.wait_for("work", "runs", State.ACTIVE)
    first = run(stubs, "work", data_cleanup=DataCleanup(older_than=SECOND))
    old = first.end_time.ToDatetime(UTC) + timedelta(seconds=1.2)
    until(lambda: datetime.now(UTC) > old, within=5, what="the first is a second old")
    second = run(stubs, "work", data_cleanup=DataCleanup(older_than=SECOND))
    assert result_of(second)["counts"] == [{"state": "COMPLETED", "type": "data_cleanup", "jobs": 1}]
    assert {job.job_id for job in stubs.list("work")} == {"runs", second.job_id}


@pytest.mark.timeout(180)
def test_a_cleanup_whose_server_dies_is_run_again_and_goes_on(start: Start, connect: Connect) -> None:
    doomed = start(TOCSIN_LEASE__DURATION="1s")
    cancelled(connect(doomed), "work", 450)
    other = start("--no-dispatch")
    stubs = connect(other)
    asked = request("admin", "", job_id="clean", data_cleanup=DataCleanup(queue="work", older_than=SECOND))
    stubs.jobs.ScheduleJob(asked)
    until(lambda: sum(ended(stubs, "work")) < 450, within=20, what="some are deleted")
    doomed.kill()
    left, died = sum(ended(stubs, "work")), stubs.get("admin", "clean")
    doomed.restart()
    job = stubs.wait_for("admin", "clean", within=60)
    assert job.state == State.COMPLETED
    assert sum(ended(stubs, "work")) == 0
    if died.state not in ENDED:  # else it was done before the kill came
        assert job.attempt > 1
        assert result_of(job)["deleted"] <= left


@pytest.mark.timeout(120)
def test_a_cleanup_that_is_cancelled_stops_and_what_is_left_stands(
    start: Start, connect: Connect, empty_store: StoreBackend
) -> None:
    with TcpProxy("127.0.0.1", empty_store.port) as proxy:
        stubs = connect(start(port=proxy.port))
        cancelled(stubs, "work", 450)
        # Newest first, 200 at a time: the first step is done; in the second, all of which the store never hears of, the
        # cancel comes.
        held = proxy.order(b"work-100", Fate.HELD)
        asked = request("admin", "", job_id="clean", data_cleanup=DataCleanup(queue="work", older_than=SECOND))
        stubs.jobs.ScheduleJob(asked)
        assert held.done.wait(20), "the second step never came"
        stubs.jobs.CancelJob(job_service_pb2.CancelJobRequest(queue="admin", job_id="clean", reason="changed my mind"))
        assert stubs.wait_for("admin", "clean").state == State.CANCELLED
        assert 100 < sum(ended(stubs, "work")) <= 250


# --- report_generation ---


@pytest.mark.timeout(180)
async def test_a_report_is_written_and_mailed_and_agrees_with_the_journal(
    start: Start, connect: Connect, journal: Journal, tmp_path: Path
) -> None:
    async with mail_server() as mails:
        mails.answers = {"bob@example.com": "550 no such user"}
        server = await asyncio.to_thread(
            start,
            handlers="support.jobs.mixed",
            TOCSIN_REPORTS__FOLDER=str(tmp_path / "reports"),
            TOCSIN_MAIL__TRANSPORT=f"smtp://127.0.0.1:{mails.port}",
            TOCSIN_MAIL__SENDER="Tocsin <tocsin@example.com>",
            **journal.env,
        )
        stubs = connect(server)
        await asyncio.to_thread(mixed, stubs, "work", 150)
        asked = ReportGeneration(queue="work", email_to=["Ada <ada@example.com>", "bob@example.com"])
        job = await asyncio.to_thread(run, stubs, "admin", report_generation=asked)
    result = result_of(job)

    noted = Counter(line.event for line in journal.lines())
    assert (result["completed"], result["failed"], result["cancelled"]) == (120, 15, 15)
    assert result["failed"] == sum(noted[f"{type_} failed"] for type_ in ("charge", "resize", "mail"))
    assert result["completed"] == sum(noted[f"{type_} completed"] for type_ in ("charge", "resize", "mail"))
    assert result["repeated_attempts"] == sum(noted[f"{type_} repeated"] for type_ in ("charge", "resize", "mail"))
    assert result["sure_of_all"]
    assert result["mail"]["accepted"] == ["ada@example.com"]
    assert "550 no such user" in result["mail"]["refused"][0]["answer"]
    assert job.progress.fraction == pytest.approx(0.95)

    assert result["folder"] == str(tmp_path / "reports")
    written = {path.name: path.read_bytes() for path in (tmp_path / "reports").iterdir()}
    assert sorted(written) == sorted(result["files"])
    assert [Path(name).suffix for name in result["files"]] == [".html", ".csv", ".json"]
    page, lines, figures = (written[name] for name in result["files"])
    assert b"Queue work" in page
    rows = list(csv.DictReader(lines.decode().splitlines()))
    by_type = Counter[str]()
    for row in rows:
        by_type[row["type"]] += int(row["completed"])
    assert by_type == {type_: noted[f"{type_} completed"] for type_ in ("charge", "resize", "mail")}
    whole = json.loads(figures)
    assert {(f["type"], f["error"], f["message"]): (f["jobs"], f["repeated_attempts"]) for f in whole["failures"]} == {
        **{(t, "DoNotRetry", "order job-# has no price"): (5, 0) for t in ("charge", "resize", "mail")},
        **{(t, "ConnectionError", "the bank is away"): (0, 10) for t in ("charge", "resize", "mail")},
    }

    mail = mails.only_mail()
    assert mail.recipients == ["ada@example.com"]
    assert str(mail.message["Subject"]) == "Queue work: 150 jobs ended, 15 failed"
    attached = {part.get_filename(): part.get_payload(decode=True) for part in mail.message.iter_attachments()}
    assert attached == written
    [text] = [part for part in mail.message.walk() if part.get_content_type() == "text/plain"]
    assert "Completed:          120 (80 %)" in text.get_content()


@pytest.mark.timeout(180)
def test_a_report_is_not_sure_of_jobs_that_somebody_deleted(start: Start, connect: Connect, tmp_path: Path) -> None:
    stubs = connect(start(handlers="support.jobs.mixed", TOCSIN_REPORTS__FOLDER=str(tmp_path)))

    def cleaned_up(queue: str) -> None:
        old = datetime.now(UTC) + timedelta(seconds=1.2)
        until(lambda: datetime.now(UTC) > old, within=5, what="it is a second old")
        run(stubs, "admin", data_cleanup=DataCleanup(queue=queue, older_than=SECOND, states=["FAILED"]))

    ways: dict[str, Callable[[str], object]] = {
        "cleanup": cleaned_up,
        "one": lambda queue: stubs.jobs.DeleteJob(job_service_pb2.DeleteJobRequest(queue=queue, job_id="dead")),
        "ids": lambda queue: stubs.jobs.BatchDeleteJobs(bulk_pb2.BatchDeleteJobsRequest(queue=queue, job_ids=["dead"])),
        "filter": lambda queue: stubs.jobs.BatchDeleteJobs(
            bulk_pb2.BatchDeleteJobsRequest(queue=queue, states=[State.FAILED])
        ),
        "purge": lambda queue: stubs.queues.PurgeJobs(
            queue_service_pb2.PurgeJobsRequest(queue=queue, states=[State.FAILED])
        ),
        "replace": lambda queue: stubs.jobs.ScheduleJob(
            request(queue, "charge", job_id="dead", on_conflict=job_service_pb2.ScheduleJobRequest.REPLACE)
        ),
    }
    for queue, delete in ways.items():
        stubs.schedule(queue, "charge", {"dies": True}, job_id="dead")
        dead = stubs.wait_for(queue, "dead")
        assert dead.state == State.FAILED
        asked = ReportGeneration(queue=queue, formats=[JSON])
        sure = result_of(run(stubs, "admin", report_generation=asked))
        assert (queue, sure["failed"], sure["sure_of_all"]) == (queue, 1, True)
        delete(queue)
        unsure = result_of(run(stubs, "admin", report_generation=asked))
        assert (queue, unsure["failed"], unsure["sure_of_all"]) == (queue, 0, False)
        [missing] = unsure["may_be_missing"]
        assert missing["states"] == ["FAILED"]
        assert datetime.fromisoformat(missing["ended_before"]) > dead.end_time.ToDatetime(UTC)
        asked.start_time.FromDatetime(dead.end_time.ToDatetime(UTC) + timedelta(milliseconds=1))
        assert result_of(run(stubs, "admin", report_generation=asked))["sure_of_all"]


@pytest.mark.timeout(120)
def test_a_report_has_the_forms_and_the_window_that_were_asked_for(
    start: Start, connect: Connect, tmp_path: Path
) -> None:
    stubs = connect(start(handlers="support.jobs.mixed", TOCSIN_DATA=str(tmp_path / "data")))
    mixed(stubs, "work", 10)
    end = datetime.now(UTC) - timedelta(hours=1)
    window = {"start_time": Timestamp(), "end_time": Timestamp()}
    window["start_time"].FromDatetime(end - timedelta(hours=2))
    window["end_time"].FromDatetime(end)
    asked = ReportGeneration(formats=[JSON], **window)
    result = result_of(run(stubs, "work", report_generation=asked))
    assert (result["ended"], result["mail"], result["queue"]) == (0, None, "work")
    [name] = result["files"]
    assert result["folder"] == str(tmp_path / "data/reports")
    assert json.loads((tmp_path / "data/reports" / name).read_text())["end_time"].startswith(f"{end:%Y-%m-%dT%H:%M:%S}")
    # By its length, the last week: what a schedule asks for.
    asked = ReportGeneration(formats=[JSON], window=timedelta(days=7))
    result = result_of(run(stubs, "work", report_generation=asked))
    assert result["ended"] > 0
    [name] = result["files"]
    made = json.loads((tmp_path / "data/reports" / name).read_text())
    length = datetime.fromisoformat(made["end_time"]) - datetime.fromisoformat(made["start_time"])
    assert length == timedelta(days=7)


@pytest.mark.timeout(120)
def test_a_report_that_cannot_be_made_fails_with_the_reason(start: Start, connect: Connect, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    server = start(TOCSIN_REPORTS__FOLDER=str(tmp_path / "taken"), TOCSIN_MAIL__SENDER="a@example.com")
    stubs = connect(server)
    no_transport = run(stubs, "work", report_generation=ReportGeneration(email_to=["ada@example.com"]))
    assert (no_transport.state, no_transport.attempt) == (State.FAILED, 1)
    assert "mail.transport" in no_transport.errors[-1].message
    ahead = Timestamp()
    ahead.FromDatetime(datetime.now(UTC) + timedelta(days=1))
    empty = run(stubs, "work", report_generation=ReportGeneration(start_time=ahead))
    assert (empty.state, empty.attempt) == (State.FAILED, 1)
    assert "window is empty" in empty.errors[-1].message
    again = stubs.jobs.ScheduleJob(request("work", "", report_generation=ReportGeneration(), retry=QUICK)).job.job_id
    no_folder = stubs.wait_for("work", again)
    assert (no_folder.state, no_folder.attempt) == (State.FAILED, 5)
    assert any("reports.folder" in warning for warning in stubs.health("work").warnings)
    assert "reports.folder" in server.said()


@pytest.mark.timeout(120)
def test_a_report_whose_mail_is_refused_for_good_fails_at_once_and_is_written_all_the_same(
    start: Start, connect: Connect, tmp_path: Path
) -> None:
    reports = tmp_path / "reports"
    env = {"TOCSIN_REPORTS__FOLDER": str(reports), "TOCSIN_MAIL__TRANSPORT": f"smtp://127.0.0.1:{free_port()}"}
    stubs = connect(start(**env))
    job = run(stubs, "work", report_generation=ReportGeneration(email_to=["ada@example.com"], formats=[HTML, CSV]))
    assert (job.state, job.attempt) == (State.FAILED, 1)
    assert "mail.sender" in job.errors[-1].message
    assert sorted(path.suffix for path in reports.iterdir()) == [".csv", ".html"]


# --- refused when scheduled ---


@pytest.mark.parametrize(
    ("payload", "fields"),
    [
        ({"data_cleanup": DataCleanup()}, ["older_than"]),
        ({"data_cleanup": DataCleanup(older_than=Duration(nanos=999_000_000))}, ["older_than"]),
        (
            {"data_cleanup": DataCleanup(older_than=SECOND, states=["FAILED", "ACTIVE", "failed"])},
            ["states[1]", "states[2]"],
        ),
        (
            {"data_cleanup": DataCleanup(older_than=SECOND, states=["FAILED"] * 4, types=["a b"])},
            ["types[0]", "states"],
        ),
        ({"data_cleanup": DataCleanup(older_than=SECOND, queue="a/b")}, ["queue"]),
        (
            {"report_generation": ReportGeneration(start_time=Timestamp(seconds=5), end_time=Timestamp(seconds=5))},
            ["end_time"],
        ),
        (
            {"report_generation": ReportGeneration(formats=[HTML, 0, 77], email_to=["ada"])},
            ["email_to[0]", "formats[1]", "formats[2]"],
        ),
        ({"report_generation": ReportGeneration(formats=[HTML] * 4, queue="../x")}, ["queue", "formats"]),
        ({"report_generation": ReportGeneration(window=Duration(seconds=59))}, ["window"]),
        (
            {"report_generation": ReportGeneration(window=timedelta(days=7), start_time=Timestamp(seconds=5))},
            ["window"],
        ),
    ],
)
def test_a_bad_payload_is_refused_when_it_is_scheduled(
    payload: dict[str, Any], fields: list[str], quiet_server: Server
) -> None:
    [kind] = payload
    with Stubs(quiet_server.address) as stubs, pytest.raises(grpc.RpcError) as caught:
        stubs.jobs.ScheduleJob(request("work", "", **payload))
    assert sorted(refusal(caught.value).fields) == sorted(f"job.{kind}.{field}" for field in fields)
