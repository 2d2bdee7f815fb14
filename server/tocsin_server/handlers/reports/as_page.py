"""A report as one page: self-contained, without scripts, for a screen of any width and for paper."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from tocsin_server.handlers.reports import words
from tocsin_server.handlers.reports.as_json import PERCENTILES
from tocsin_server.handlers.reports.charts.axes import Times
from tocsin_server.handlers.reports.charts.ended import ended_chart
from tocsin_server.handlers.reports.charts.spans import LINES, spans_chart
from tocsin_server.handlers.reports.charts.svg import NARROW, WIDE, Area
from tocsin_server.operations.reporting.histogram import ERROR, Histogram
from tocsin_server.operations.reporting.report import Report

_MOST_TYPES = 30  # rows of a table that is still read
_MOST_REASONS = 12


class Pages:
    """Makes pages. May be used by several threads at once."""

    def __init__(self) -> None:
        environment = Environment(
            loader=FileSystemLoader(Path(__file__).parent),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        names = ("span", "number", "rate", "moment", "missing", "zone_name")
        environment.filters.update({name: getattr(words, name) for name in names})
        environment.globals.update(share=words.share)
        self._page = environment.get_template("page.html")

    def as_page(self, report: Report) -> bytes:
        """The page, UTF-8."""
        types = report.busiest_first()
        reasons = report.reasons.ordered()
        return self._page.render(
            report=report,
            total=report.total,
            error_percent=f"{100 * ERROR:g}",
            charts=_charts(report) if report.total.ended else None,
            lines=LINES,
            types=types[:_MOST_TYPES],
            more_types=max(0, len(types) - _MOST_TYPES),
            reasons=reasons[:_MOST_REASONS],
            more_reasons=max(0, len(reasons) - _MOST_REASONS),
            most_jobs=max((reason.jobs + reason.attempts for reason in reasons), default=0),
            columns=_columns,
        ).encode()


def _columns(spans: Histogram) -> Sequence[str]:
    """p50, p95, p99, max."""
    found = [spans.percentile(share) for share in PERCENTILES.values()]
    return [words.span(value) for value in (*found, spans.max)]


def _charts(report: Report) -> dict[str, Markup | None]:
    times = Times(report.start, report.end, report.zone, report.ahead)
    intervals = report.intervals()
    step = report.chart_step
    drawn: dict[str, Markup | None] = {
        "ended": _both(ended_chart, times, step, intervals, "Jobs that ended, by time"),
        "waits": None,
        "runs": None,
    }
    if report.total.waits.count:
        waits = [(start, figures.waits) for start, figures in intervals]
        drawn["waits"] = _both(spans_chart, times, step, waits, "How long jobs waited, by time")
        runs = [(start, figures.runs) for start, figures in intervals]
        drawn["runs"] = _both(spans_chart, times, step, runs, "How long jobs ran, by time")
    return drawn


def _both(draw: Callable[..., Markup], *arguments: Any) -> Markup:
    areas: tuple[Area, ...] = (WIDE, NARROW)
    return Markup("").join(draw(area, *arguments) for area in areas)
