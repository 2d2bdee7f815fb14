"""The mail that a report is attached to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tocsin_server.domain.words import counted
from tocsin_server.handlers.reports.words import missing, moment, number, rate, share, span, zone_name
from tocsin_server.messages.mail.body import Attachment
from tocsin_server.messages.mail.message import Letter
from tocsin_server.operations.reporting.histogram import Histogram
from tocsin_server.operations.reporting.report import Report

_CONTENT_TYPES = {"html": "text/html", "csv": "text/csv", "json": "application/json"}


def letter(report: Report, to: Sequence[str], stem: str, contents: Mapping[str, bytes]) -> Letter:
    """The main figures as text, and the files by their endings."""
    ended = counted(report.total.ended, "job")
    return Letter(
        sender="",  # the server's
        to=to,
        subject=f"Queue {report.queue}: {ended} ended, {number(report.total.failed)} failed",
        text=_text(report),
        html="",
        attachments=[
            Attachment(f"{stem}.{ending}", content, _CONTENT_TYPES[ending]) for ending, content in contents.items()
        ],
    )


def _text(report: Report) -> str:
    total, zone = report.total, report.zone
    lines = [
        f"Queue {report.queue}",
        f"{moment(report.start, zone)} to {moment(report.end, zone)} {zone_name(zone)} ({span(report.length)})",
        "",
        f"Jobs that ended:    {number(total.ended)} ({rate(report.per_hour)} an hour)",
        *(
            f"{name + ':':<20}{number(count)} ({share(count, total.ended)})"
            for name, count in (
                ("Completed", total.completed),
                ("Failed", total.failed),
                ("Cancelled", total.cancelled),
            )
        ),
        f"Repeated attempts:  {number(total.repeats)}",
        f"Waited:             {_spans(total.waits)}",
        f"Ran:                {_spans(total.runs)}",
        *(line for gap in report.gaps for line in ("", missing(gap, zone))),
        "",
        "The whole report is attached.",
    ]
    return "\n".join(lines) + "\n"


def _spans(spans: Histogram) -> str:
    return f"p50 {span(spans.percentile(0.5))}, p95 {span(spans.percentile(0.95))}, longest {span(spans.max)}"
