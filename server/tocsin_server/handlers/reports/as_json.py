"""A report as figures for programs; and the main ones, which are the job's result."""

from __future__ import annotations

import json
from typing import Any

from tocsin_server.domain.states import State
from tocsin_server.handlers.reports.words import missing, seconds, stamp
from tocsin_server.operations.reporting.figures import ReportFigures
from tocsin_server.operations.reporting.histogram import ERROR, Histogram
from tocsin_server.operations.reporting.reasons import Reason
from tocsin_server.operations.reporting.report import Report

PERCENTILES = {"p50": 0.50, "p95": 0.95, "p99": 0.99}


def as_json(report: Report) -> bytes:
    """All figures. Spans are seconds; times are UTC."""
    others = report.reasons.others
    figures = {
        **main_figures(report),
        "percentile_error": ERROR,
        "types": [{"type": type_, **_figures(of_type)} for type_, of_type in report.busiest_first()],
        "failures": [_reason(reason) for reason in report.reasons],
        "other_failures": {"jobs": others.jobs, "repeated_attempts": others.attempts},
        "chart": {
            "interval_seconds": seconds(report.chart_step),
            "intervals": [
                {"start": stamp(start), **_figures(in_it)} for start, in_it in report.intervals() if in_it.ended
            ],
        },
    }
    return json.dumps(figures, indent=1).encode()


def main_figures(report: Report) -> dict[str, Any]:
    """The window, the totals, and what may be missing."""
    return {
        "queue": report.queue,
        "start_time": stamp(report.start),
        "end_time": stamp(report.end),
        "made_time": stamp(report.made),
        **_figures(report.total),
        "ended_per_hour": round(report.per_hour, 3),
        "sure_of_all": not report.gaps,
        "may_be_missing": [
            {
                "states": sorted(State(state).name for state in gap.states),
                "ended_before": stamp(gap.before),
                "why": missing(gap),
            }
            for gap in report.gaps
        ],
    }


def _figures(figures: ReportFigures) -> dict[str, Any]:
    return {
        "ended": figures.ended,
        "completed": figures.completed,
        "failed": figures.failed,
        "cancelled": figures.cancelled,
        "attempts": figures.attempts,
        "repeated_attempts": figures.repeats,
        "repeated_jobs": figures.repeated,
        "failed_attempts": figures.failures,
        "crashes": figures.crashes,
        "wait_seconds": _spans(figures.waits),
        "run_seconds": _spans(figures.runs),
    }


def _spans(spans: Histogram) -> dict[str, Any]:
    return {
        "count": spans.count,
        "mean": seconds(spans.mean),
        **{name: seconds(spans.percentile(share)) for name, share in PERCENTILES.items()},
        "max": seconds(spans.max),
    }


def _reason(reason: Reason) -> dict[str, Any]:
    return {
        "type": reason.type,
        "error": reason.error,
        "message": reason.message,
        "jobs": reason.jobs,
        "repeated_attempts": reason.attempts,
        "last_time": stamp(reason.last) if reason.last is not None else None,
    }
