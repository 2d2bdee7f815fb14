"""`tocsin jobs explain` and `tocsin jobs logs`."""

from __future__ import annotations

import json

from tocsin.v1 import following_pb2 as fpb
from tocsin.v1 import job_pb2, worker_service_pb2
from unit.client.cli.conftest import Tocsin

from ..canned_server import CannedJobService, a_job

S, Reason, Level = job_pb2.Job.State, job_pb2.Explanation.Reason, worker_service_pb2.LogLine.Level
Entry = fpb.ListJobLogsResponse.Entry


def a_line(text: str, *, attempt: int = 1, level: int = Level.INFO) -> Entry:
    entry = Entry(attempt=attempt, line=worker_service_pb2.LogLine(level=level, text=text))  # type: ignore[arg-type]
    entry.time.seconds = 1_000_000
    return entry


async def test_a_reason_is_a_word_and_a_sentence(tocsin: Tocsin, address: str, service: CannedJobService) -> None:
    job = a_job()
    job.explanation.reason, job.explanation.ahead = Reason.BEHIND, 0
    job.explanation.sentence = "It is due, and the first of type \x1b[31mred."
    service.jobs["a"] = job
    done = await tocsin("jobs", "explain", "a", "--queue", "q", "-a", address)
    assert (done.code, done.out) == (0, "BEHIND: It is due, and the first of type \\x1b[31mred.\n")
    assert service.asked("ExplainJob") == [fpb.ExplainJobRequest(queue="q", job_id="a")]
    said = json.loads((await tocsin("jobs", "explain", "a", "--json", "-a", address)).out)
    assert said == {"reason": "BEHIND", "sentence": job.explanation.sentence, "ahead": 0}
    assert "why        It is due" in (await tocsin("jobs", "get", "a", "-a", address)).out


async def test_an_ended_job_is_shown_without_a_reason(tocsin: Tocsin, address: str, service: CannedJobService) -> None:
    job = service.jobs["a"] = a_job(state=S.COMPLETED)
    job.explanation.reason, job.explanation.sentence = Reason.ENDED, "It has ended COMPLETED."
    assert "why" not in (await tocsin("jobs", "get", "a", "-a", address)).out


async def test_how_far_a_cancel_got_is_shown(tocsin: Tocsin, address: str, service: CannedJobService) -> None:
    job = service.jobs["a"] = a_job(state=S.CANCELLED)
    job.cancel.reason = "moved"
    for name, second in (("ask_time", 1), ("deliver_time", 2), ("obey_time", 3)):
        getattr(job.cancel, name).seconds = second
        done = await tocsin("jobs", "get", "a", "-a", address)
        [line] = [line for line in done.out.splitlines() if line.startswith("cancel")]
        assert line.count("1970-01-01T00:00:0") == second
    assert line.split(maxsplit=1)[1] == (
        "asked 1970-01-01T00:00:01.000Z, told 1970-01-01T00:00:02.000Z, obeyed 1970-01-01T00:00:03.000Z moved"
    )


async def test_lines_are_printed_page_by_page(tocsin: Tocsin, address: str, service: CannedJobService) -> None:
    dropped = Entry(dropped=1_234)
    dropped.time.seconds = 1_000_000
    pages = [
        fpb.ListJobLogsResponse(lines=[a_line("one\ntwo \x1b[31m"), dropped], next_cursor="1.2", more=True),
        fpb.ListJobLogsResponse(lines=[a_line("three", attempt=2, level=Level.ERROR)], next_cursor="1.3"),
    ]
    service.logs = iter(pages)
    done = await tocsin("jobs", "logs", "a", "--attempt", "2", "-a", address)
    assert done.out.splitlines() == [
        "1970-01-12T13:46:40.000Z 1 INFO    one\\ntwo \\x1b[31m",
        "... 1,234 lines were dropped here ...",
        "1970-01-12T13:46:40.000Z 2 ERROR   three",
    ]
    assert [(asked.attempt, asked.cursor) for asked in service.asked("ListJobLogs")] == [(2, ""), (2, "1.2")]
    service.logs = iter(pages)
    lines = (await tocsin("jobs", "logs", "a", "--json", "-a", address)).out.splitlines()
    assert [json.loads(line) for line in lines] == [
        {"time": "1970-01-12T13:46:40.000Z", "attempt": 1, "line": {"level": "INFO", "text": "one\ntwo \x1b[31m"}},
        {"time": "1970-01-12T13:46:40.000Z", "dropped": 1234},
        {"time": "1970-01-12T13:46:40.000Z", "attempt": 2, "line": {"level": "ERROR", "text": "three"}},
    ]


async def test_following_reads_once_more_after_the_end(tocsin: Tocsin, address: str, service: CannedJobService) -> None:
    service.jobs["a"] = a_job(state=S.COMPLETED)
    texts = ("before", "last")
    service.logs = iter([fpb.ListJobLogsResponse(lines=[a_line(text)], next_cursor=text) for text in texts])
    done = await tocsin("jobs", "logs", "a", "--follow", "-a", address)
    assert [line.split()[-1] for line in done.out.splitlines()] == ["before", "last"]
    assert [method for method, _ in service.calls] == ["ListJobLogs", "WaitJob", "ListJobLogs"]
