"""How many jobs ended in each interval, and how."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from markupsafe import Markup

from tocsin_server.handlers.reports.charts.axes import Amounts, Times
from tocsin_server.handlers.reports.charts.svg import Area, element
from tocsin_server.handlers.reports.words import moment, number
from tocsin_server.operations.reporting.figures import ReportFigures

_KINDS = ("completed", "failed", "cancelled")
_SPACE = 1.0  # between two bars


def ended_chart(
    area: Area, times: Times, step: timedelta, intervals: Sequence[tuple[datetime, ReportFigures]], title: str
) -> Markup:
    """Bars, one upon another."""
    amounts = Amounts.up_to(max(figures.ended for _, figures in intervals))
    bars = (_bar(area, times, amounts, start, step, figures) for start, figures in intervals if figures.ended)
    return area.drawing(title, *amounts.draw(area), *bars, *times.draw(area))


def _bar(
    area: Area, times: Times, amounts: Amounts, start: datetime, step: timedelta, figures: ReportFigures
) -> Markup:
    left, right = area.x(times.share(start)), area.x(times.share(start + step))
    width = max(1.0, right - left - _SPACE)
    said = ", ".join(f"{number(getattr(figures, kind))} {kind}" for kind in _KINDS if getattr(figures, kind))
    return element(
        "g", element("title", f"{moment(start, times.zone)}: {said}"), *_parts(area, amounts, figures, left, width)
    )


def _parts(area: Area, amounts: Amounts, figures: ReportFigures, left: float, width: float) -> Iterator[Markup]:
    below = 0
    for kind in _KINDS:
        count: int = getattr(figures, kind)
        if count:
            top, bottom = area.y(amounts.share(below + count)), area.y(amounts.share(below))
            # One among thousands is a line still.
            height = max(1.5, bottom - top)
            yield element("rect", class_=kind, x=left, y=bottom - height, width=width, height=height)
            below += count
