"""The options of a job."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from support.eventually import until
from support.servers import Server
from tocsin import AlreadyExists, Client, Collapse, Job, JobRequest, NotFound, RetryPolicy

from integration.from_a_queue_module.lines import Lines
from integration.from_a_queue_module.moved_times import backdated

IMAGE = {"path": "a.png"}
PAID, NOT_PAID = {"amount": 42}, {"amount": 4200}
ONCE = RetryPolicy(max_attempts=1)


def wait_after(client: Client, job: Job, failures: int) -> timedelta:
    """How long the job waits after so many failures, of which the last is made to happen now."""
    if failures > 1:
        client.run(job)
    failed = until(lambda: now if (now := client.get(job)).failures == failures else None, within=20)
    assert failed is not None
    assert failed.schedule_time is not None
    return failed.schedule_time - failed.errors[-1].time


def test_delay(lines: Lines, client: Client) -> None:
    made = lines.python()
    assert made.schedule_time - made.create_time == timedelta(seconds=1.5)


def test_priority(lines: Lines, client: Client) -> None:
    client.pause()
    others = [JobRequest("resize_image", IMAGE, priority=n) for n in ("low", "normal") for _ in range(6)]
    client.schedule_many(others)
    high = lines.python()
    assert high.priority == 10
    client.resume()
    started = [(client.wait(job, timeout=20).start_time, job.priority) for job in client.list()]
    # Four at a time: the last to be scheduled is among the first to start, and the low ones come last.
    assert client.get(high).start_time == min(started)[0]
    assert max(started)[1] == -10


def test_attempts(lines: Lines, client: Client) -> None:
    failed = client.wait(lines.python(), timeout=20)
    assert (failed.state, failed.attempt, failed.failures) == ("FAILED", 5, 5)


def test_fixed_backoff(lines: Lines, client: Client) -> None:
    job = lines.python()
    assert [wait_after(client, job, failures) for failures in (1, 2)] == [timedelta(seconds=5)] * 2


def test_exponential_backoff(lines: Lines, client: Client) -> None:
    job = lines.python()
    assert [wait_after(client, job, failures) for failures in (1, 2)] == [timedelta(seconds=2), timedelta(seconds=4)]


def test_remove_on_complete(lines: Lines, server: Server, client: Client) -> None:
    lines.python()
    done = [f"done-{n}" for n in range(52)]
    lost = [f"lost-{n}" for n in range(28)]
    client.schedule_many(JobRequest("noop", job_id=job_id) for job_id in done)
    client.schedule_many(JobRequest("fails", retry=ONCE, job_id=job_id) for job_id in lost)
    for job_id in (*done, *lost):
        client.wait(job_id, timeout=30)
    assert (client.count(states=["COMPLETED"]), client.count(states=["FAILED"])) == (52, 28)  # ended just now: spared
    backdated(server, client, [*lost, *done], minutes=6)
    until(lambda: client.count(states=["COMPLETED"]) == 50, within=10, what="trimmed by count")
    until(lambda: client.count(states=["FAILED"]) == 25, within=10, what="trimmed by count")
    assert {job.job_id for job in client.list()} == {*done[2:], *lost[3:]}


def test_remove_at_once(lines: Lines, client: Client) -> None:
    job = lines.python()

    def gone() -> bool:
        try:
            return not client.get(job)
        except NotFound:
            return True

    until(gone, within=10, what="removed by its end")


def test_job_id(lines: Lines, client: Client) -> None:
    first = lines.python()
    assert (first.job_id, first.outcome) == ("charge-7", "CREATED")
    with pytest.raises(AlreadyExists):
        client.schedule("charge_card", PAID, job_id="charge-7")
    assert client.schedule("charge_card", NOT_PAID, job_id="charge-7", on_conflict="KEEP").outcome == "KEPT"
    assert client.wait("charge-7", timeout=20).data == PAID


def test_deduplication(lines: Lines, client: Client) -> None:
    first = client.schedule("charge_card", NOT_PAID, delay=3600, collapse=Collapse("charge-7", "KEEP"))
    second = lines.python()
    assert (second.outcome, second.job_id) == ("KEPT", first.job_id)
    [standing] = client.list(view="FULL")
    assert standing.data == NOT_PAID


def test_unique(lines: Lines, client: Client) -> None:
    client.schedule("charge_card", NOT_PAID, delay=3600, job_id="charge-7")
    assert lines.python().outcome == "REPLACED"
    [standing] = client.list(view="FULL")
    assert standing.data == PAID
    assert standing.schedule_time is not None
    assert standing.create_time is not None
    assert standing.schedule_time - standing.create_time < timedelta(minutes=2)


def test_timeout(lines: Lines, client: Client) -> None:
    assert lines.python().timeout == timedelta(minutes=1)
    late = client.wait(client.schedule("until_cancelled", timeout=0.1, retry=ONCE), timeout=20)
    assert (late.state, late.errors[-1].type) == ("FAILED", "TIMEOUT")


def test_repeat_by_cron(lines: Lines, client: Client) -> None:
    daily = lines.python()
    [*times] = daily.next_times
    assert {time.astimezone(ZoneInfo("Europe/Berlin")).strftime("%H:%M") for time in times} == {"09:00"}
    assert client.wait(client.schedules.trigger("daily"), timeout=20).data == {"path": "a.png"}
    client.schedules.delete("daily")


def test_repeat_by_interval(lines: Lines, client: Client) -> None:
    often = lines.python()
    assert {later - sooner for sooner, later in pairwise(often.next_times)} == {timedelta(minutes=5)}
    assert client.wait(client.schedules.trigger("often"), timeout=20).data == {"path": "a.png"}
    client.schedules.delete("often")


def test_repeat_no_more(lines: Lines, client: Client) -> None:
    client.schedules.create("nightly", cron="0 9 * * *", type="resize_image")
    lines.python()
    assert "nightly" not in lines.shell()
    with pytest.raises(NotFound):
        client.schedules.get("nightly")
