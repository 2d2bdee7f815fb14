"""A report for programs: CSV and JSON."""

from __future__ import annotations

import csv
import io
import json
from datetime import timedelta
from typing import Any

import pytest
from tocsin_server.domain.states import State
from tocsin_server.handlers.reports.as_csv import HEADER, as_csv
from tocsin_server.handlers.reports.as_json import as_json, main_figures
from tocsin_server.operations.reporting.report import Report
from unit.server.handlers.reports.made_reports import HOSTILE, HOUR, NOW, a_job, a_mixed_report, a_report


def lines(report: Report) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(as_csv(report).decode(), newline="")))


def test_csv_has_a_line_for_each_hour_and_type_in_which_something_ended() -> None:
    report = a_report(
        a_job("b"),
        a_job("b", State.FAILED, attempt=3, ran=0.9, waited=0.04),
        a_job("a", State.CANCELLED),
        a_job("a", ago=5 * HOUR),
    )
    assert lines(report) == [
        dict(zip(HEADER, row.split(","), strict=True))
        for row in (
            "2026-11-24T05:00:00.000Z,3600,a,1,0,0,0,0.02,0.02,0.3,0.3",
            "2026-11-24T09:00:00.000Z,3600,a,0,0,1,0,,,,",
            "2026-11-24T09:00:00.000Z,3600,b,1,1,0,2,0.03,0.04,0.6,0.9",
        )
    ]


def test_csv_of_nothing_is_its_header() -> None:
    assert as_csv(a_report()) == (",".join(HEADER) + "\r\n").encode()


def test_csv_holds_every_job_once() -> None:
    report = a_mixed_report()
    counts = [sum(int(line[name]) for line in lines(report)) for name in ("completed", "failed", "cancelled")]
    assert counts == [report.total.completed, report.total.failed, report.total.cancelled]


def figures(report: Report) -> dict[str, Any]:
    found = json.loads(as_json(report))
    assert isinstance(found, dict)
    return found


def test_json_has_the_totals_the_types_and_the_reasons() -> None:
    found = figures(a_mixed_report())
    assert (found["ended"], found["completed"], found["failed"], found["cancelled"]) == (128, 119, 8, 1)
    assert [of_type["type"] for of_type in found["types"]] == ["resize_image", "charge-card", "a" * 100]
    [failure] = found["failures"]
    assert (failure["type"], failure["jobs"], failure["repeated_attempts"]) == ("charge-card", 8, 16)
    assert failure["error"] == HOSTILE[:200]
    assert found["run_seconds"]["max"] == 119.0
    assert found["run_seconds"]["p50"] == pytest.approx(56, rel=0.01)  # of 119 that ran 1, 2, 3, ... s and 8 of 0.3 s
    assert sum(interval["ended"] for interval in found["chart"]["intervals"]) == 128


def test_json_says_what_may_be_missing() -> None:
    found = figures(a_mixed_report())
    assert not found["sure_of_all"]
    assert [gap["states"] for gap in found["may_be_missing"]] == [["CANCELLED", "COMPLETED"], ["FAILED"]]
    assert "kept for 23 h" in found["may_be_missing"][0]["why"]
    assert "keeps 100,000 of them" in found["may_be_missing"][1]["why"]
    assert figures(a_report())["sure_of_all"]


def test_the_main_figures_fit_into_a_result() -> None:
    assert len(json.dumps(main_figures(a_mixed_report()))) < 4_000


def test_json_of_nothing_has_zeros_and_nulls() -> None:
    found = figures(a_report(length=timedelta(hours=2)))
    assert (found["ended"], found["ended_per_hour"], found["types"], found["failures"]) == (0, 0.0, [], [])
    assert found["wait_seconds"] == {"count": 0, "mean": None, "p50": None, "p95": None, "p99": None, "max": None}
    assert found["end_time"] == NOW.strftime("%Y-%m-%dT%H:%M:%S.000Z")
