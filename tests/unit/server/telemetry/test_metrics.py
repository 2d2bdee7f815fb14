"""Metrics are named as Prometheus wants it, documented, bounded, and count what happened."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pytest
from contract.builders import a_job
from support.source_tree import ROOT
from tocsin_server.domain.job import Job
from tocsin_server.domain.lease import Claimed, Ending, Lease, LostLease
from tocsin_server.domain.states import State
from tocsin_server.telemetry import metrics as names
from tocsin_server.telemetry.instruments import OTHER, Family
from tocsin_server.telemetry.metrics import Metrics

FAMILIES = [value for value in vars(names).values() if isinstance(value, Family)]
ROW = re.compile(r"^\| `(tocsin_\w+)` \| (\w+) \| (.*?)\| (yes )?\| (.*) \|$", re.MULTILINE)


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_a_name_says_its_unit_and_counters_end_in_total(family: Family) -> None:
    assert re.fullmatch(r"tocsin_[a-z_]+", family.name)
    assert family.name.endswith("_total") == (family.kind == "counter")
    if family.kind == "histogram":
        assert family.name.endswith("_seconds")
    assert not set(family.labels) & {"le", "job", "instance"}, "labels of Prometheus' own"
    assert family.help.endswith(".")


def test_the_page_lists_each_metric_as_it_is_and_no_other() -> None:
    listed = [
        (name, kind, tuple(re.findall(r"`(\w+)`", labels)), bool(same), text)
        for name, kind, labels, same, text in ROW.findall((ROOT / "docs/metrics.md").read_text())
    ]
    assert listed == [
        (
            family.name,
            family.kind,
            family.labels,
            names._SAME in family.help,
            family.help.replace(f" {names._SAME}", ""),
        )
        for family in FAMILIES
    ]


def begun(*, queue: str = "q", waited: float = 0.0, ahead: float = 0.0) -> Claimed:
    """An attempt that was leased so long after its job was due, which was asked for so far ahead."""
    job: Job = a_job(queue=queue)
    due = job.create_time + timedelta(seconds=ahead)
    job = replace(job, schedule_time=due, start_time=due + timedelta(seconds=waited))
    return Claimed(job, Lease(queue, job.job_id, 1, b"t"))


def counted(row: Sequence[float]) -> tuple[float, float]:
    """How many, and their sum."""
    return sum(row[:-1]), round(row[-1], 6)


def test_waits_are_counted_of_all_and_lateness_of_those_that_were_set_ahead() -> None:
    metrics = Metrics()
    metrics.started([begun(waited=2.0), begun(waited=0.25, ahead=60), begun(queue="r", waited=1.0)])
    assert counted(metrics.waiting.row("q")) == (2, 2.25)
    assert counted(metrics.lateness.row("q")) == (1, 0.25)
    assert counted(metrics.waiting.row("r")) == (1, 1.0)
    assert counted(metrics.lateness.row("r")) == (0, 0.0)


def test_attempts_are_counted_by_how_they_ended() -> None:
    metrics = Metrics()
    for ending in (Ending.COMPLETED, Ending.COMPLETED, Ending.FAILED, Ending.CRASHED):
        metrics.ended("q", "t", ending, 0.5)
    metrics.lost("q", [LostLease("id", "t", 1, State.WAITING)])
    assert metrics.attempts.values == {
        ("q", "t", "COMPLETED"): 2,
        ("q", "t", "FAILED"): 1,
        ("q", "t", "CRASHED"): 1,
        ("q", "t", "LOST"): 1,
    }
    assert counted(metrics.run.row("t")) == (4, 2.0)


def test_names_beyond_the_bounds_are_counted_together() -> None:
    metrics = Metrics(queues=2)
    for number in range(names.TYPES + 10):
        metrics.ended("q", f"t{number}", Ending.COMPLETED, 1.0)
    for queue in ("r", "s", "u"):
        metrics.ended(queue, "t0", Ending.COMPLETED, 1.0)
        metrics.schedules_acted(queue, fired=1, missed=2)
    assert metrics.attempts.values["q", OTHER, "COMPLETED"] == 10
    assert metrics.attempts.values[OTHER, "t0", "COMPLETED"] == 2
    assert metrics.fired.values == {("r",): 1, (OTHER,): 2}
    assert metrics.missed.values == {("r",): 2, (OTHER,): 4}
    assert counted(metrics.run.row(OTHER)) == (10, 10.0)
    metrics.started(begun(queue=f"q{number}") for number in range(names.HISTOGRAM_QUEUES + 5))
    assert counted(metrics.waiting.row(OTHER)) == (5, 0.0)
