"""A queue is healthy while due jobs are run, and says in words why it is not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from tocsin_server.domain.defaults import JobDefaults, PushTarget
from tocsin_server.domain.queues import QueueFigures, QueueSettings, WorkerFigures
from tocsin_server.domain.states import State
from tocsin_server.operations.queue_health import QueueHealth, judged

NOW = datetime(2026, 11, 24, 10, 17, tzinfo=UTC)
SERVER = WorkerFigures("server", ("mail",), slots=20, busy=0, abandoned=0)


def health(
    counts: Mapping[State, Mapping[str, int]],
    *workers: WorkerFigures,
    waiting_for: timedelta | None = None,
    completed_per_second: float = 0.0,
    settings: QueueSettings | None = None,
) -> QueueHealth:
    oldest = None if waiting_for is None else NOW - waiting_for
    figures = QueueFigures(NOW, counts, oldest, completed_per_second, 0.0)
    return judged(figures, settings or QueueSettings(), workers)


def test_without_due_jobs_a_queue_is_healthy_also_where_nobody_runs_any() -> None:
    idle = health({State.COMPLETED: {"mail": 3}})
    assert (idle.error, idle.lag, idle.warnings) == ("", timedelta(0), ("no process runs jobs of this queue",))


def test_due_jobs_of_a_type_without_a_handler_are_an_error() -> None:
    sick = health({State.WAITING: {"mail": 1, "resize": 2}}, SERVER, waiting_for=timedelta(seconds=3))
    assert sick.unserved_types == ("resize",)
    assert sick.error.startswith("no process runs jobs of type resize: ")
    assert sick.lag == sick.oldest_waiting_age == timedelta(seconds=3)


def test_scheduled_jobs_of_a_type_without_a_handler_are_a_warning() -> None:
    early = health({State.SCHEDULED: {"mail": 1, "resize": 2, "crop": 1}}, SERVER)
    assert (early.error, early.unserved_types) == ("", ())
    assert early.warnings == ("jobs of type crop, resize are scheduled, and no process would run them at present",)
    assert health({State.SCHEDULED: {"mail": 1}}, SERVER).warnings == ()


def test_only_ten_types_are_named() -> None:
    sick = health({State.WAITING: {f"t{n:02}": 1 for n in range(14)}}, SERVER)
    assert "t09 and 4 more" in sick.error
    assert "t10" not in sick.error
    assert len(sick.unserved_types) == 14


def test_a_paused_queue_with_due_jobs_says_why_it_is_paused() -> None:
    paused = QueueSettings(paused_since=NOW, pause_reason="moving house")
    sick = health({State.WAITING: {"mail": 1_200}}, SERVER, settings=paused)
    assert sick.error == "the queue is paused (moving house) and 1,200 due jobs wait: resume it"
    assert "paused: moving house" in sick.warnings
    assert health({}, SERVER, settings=paused).error == ""


@pytest.mark.parametrize(
    ("late", "moving", "error"),
    [(timedelta(seconds=59), 0.0, False), (timedelta(minutes=2), 0.0, True), (timedelta(minutes=2), 0.1, False)],
)
def test_due_jobs_that_wait_long_while_nothing_moves_are_an_error(late: timedelta, moving: float, error: bool) -> None:
    found = health({State.WAITING: {"mail": 5}}, SERVER, waiting_for=late, completed_per_second=moving)
    assert bool(found.error) is error
    if error:
        assert "5 jobs are due, the oldest for 0:02:00" in found.error
        assert "20 free slots" in found.error


def test_one_is_one() -> None:
    last = WorkerFigures("server", ("mail",), slots=20, busy=19, abandoned=0)
    found = health({State.WAITING: {"mail": 1}}, last, waiting_for=timedelta(minutes=2))
    assert found.error == (
        "1 job is due, the oldest for 0:02:00, and none is being run, though 1 process with 1 free slot says that it "
        "would: look at its log"
    )
    paused = health({State.WAITING: {"mail": 1}}, settings=QueueSettings(paused_since=NOW))
    assert paused.error == "the queue is paused and 1 due job waits: resume it"


def test_what_processes_warn_of_is_passed_on_once() -> None:
    words = "email_notification: no mail can be sent"
    workers = [WorkerFigures(name, ("mail",), 20, 1, 1, warnings=(words,)) for name in ("one", "two")]
    found = health({}, *workers)
    assert found.warnings[-1] == words
    assert [w for w in found.warnings if "did not" in w] == [
        f"{name}: 1 handler was told to stop and did not; each holds a slot" for name in ("one", "two")
    ]


def test_more_slots_are_advised_only_where_they_help() -> None:
    late = timedelta(minutes=2)
    unserved = health({State.WAITING: {"resize": 5}}, SERVER, waiting_for=late)
    assert [w for w in unserved.warnings if "late" in w] == ["due jobs start late: the oldest waits for 0:02:00"]
    paused = health(
        {State.WAITING: {"mail": 5}},
        SERVER,
        waiting_for=late,
        settings=QueueSettings(paused_since=NOW, pause_reason=""),
    )
    assert paused.warnings == ("paused",)
    busy = health({State.WAITING: {"mail": 5}}, SERVER, waiting_for=late, completed_per_second=1.0)
    assert "more slots or processes help" in busy.warnings[0]


@pytest.mark.parametrize(
    ("failed", "completed", "warned"), [(4, 0, False), (5, 0, True), (20, 20, True), (20, 21, False), (0, 0, False)]
)
def test_many_failures_are_a_warning(failed: int, completed: int, warned: bool) -> None:
    figures = QueueFigures(NOW, {State.FAILED: {"boom": 12, "mail": 1}}, None, completed / 300, failed / 300)
    found = judged(figures, QueueSettings(), [SERVER])
    lines = [line for line in found.warnings if "failed" in line]
    assert bool(lines) is warned
    if warned:
        assert f"{failed / (failed + completed):.0%} of the attempts of the last five minutes failed" in lines[0]
        assert "boom 12, mail 1" in lines[0]
    assert found.error == ""


def test_what_has_a_push_target_is_served_by_who_makes_requests_and_by_nobody_else() -> None:
    pushed = QueueSettings(type_defaults={"mail": JobDefaults(push=PushTarget("https://example.com/"))})
    waiting = {State.WAITING: {"mail": 1}}
    requests = replace(SERVER, worker="server/http", types=("http_request",))
    assert health(waiting, SERVER, settings=pushed).unserved_types == ("mail",)
    assert health(waiting, SERVER, replace(requests, remote=True), settings=pushed).unserved_types == ("mail",)
    assert health(waiting, SERVER, requests, settings=pushed).unserved_types == ()
