"""A report as lines: one an interval and type in which something ended."""

from __future__ import annotations

import csv
import io
from datetime import timedelta

from tocsin_server.handlers.reports.words import seconds, stamp
from tocsin_server.operations.reporting.report import Report

HEADER = (
    "interval_start",
    "interval_seconds",
    "type",
    "completed",
    "failed",
    "cancelled",
    "repeated_attempts",
    "wait_seconds_mean",
    "wait_seconds_max",
    "run_seconds_mean",
    "run_seconds_max",
)


def as_csv(report: Report) -> bytes:
    """RFC 4180, UTF-8, with a header; times are UTC, a mean or maximum of nothing is empty. An interval is an hour, or
    longer where there would be more than 20,000 lines."""
    out = io.StringIO(newline="")
    lines = csv.writer(out)
    lines.writerow(HEADER)
    length = int(report.table.step.total_seconds())
    for start, type_, cell in report.table:
        times: tuple[float | None, ...] = (None, None, None, None)
        if cell.ran:
            times = (
                _mean(cell.waited_total, cell.ran),
                seconds(cell.waited_most),
                _mean(cell.ran_total, cell.ran),
                seconds(cell.ran_most),
            )
        counts = (cell.completed, cell.failed, cell.cancelled, cell.repeats)
        lines.writerow((stamp(start), length, type_, *map(int, counts), *times))
    return out.getvalue().encode()


def _mean(total: timedelta, count: int) -> float:
    return round(total.total_seconds() / count, 3)
