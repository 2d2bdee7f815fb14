"""How long jobs of each interval waited or ran."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from markupsafe import Markup

from tocsin_server.handlers.reports.charts.axes import Spans, Times
from tocsin_server.handlers.reports.charts.svg import Area, element
from tocsin_server.handlers.reports.words import moment, span
from tocsin_server.operations.reporting.histogram import Histogram

#: Lines of the chart, by class: half of the jobs were no longer, 95 of 100 were no longer, none was longer.
LINES = ("p50", "p95", "max")

_Values = Sequence[timedelta]  # one for each of LINES


def spans_chart(
    area: Area, times: Times, step: timedelta, intervals: Sequence[tuple[datetime, Histogram]], title: str
) -> Markup:
    """Lines over time; broken where an interval has no job. There must be one job at least."""
    values = [(start, _values(histogram)) for start, histogram in intervals]
    known = [value for _, found in values if found for value in found]
    scale = Spans.between(min(known), max(known))
    lines = (part for place in reversed(range(len(LINES))) for part in _line(area, times, scale, step, values, place))
    return area.drawing(title, *scale.draw(area), *lines, *times.draw(area))


def _values(spans: Histogram) -> _Values | None:
    p50, p95, most = spans.percentile(0.50), spans.percentile(0.95), spans.max
    return None if p50 is None or p95 is None or most is None else (p50, p95, most)


def _line(
    area: Area,
    times: Times,
    scale: Spans,
    step: timedelta,
    values: Sequence[tuple[datetime, _Values | None]],
    place: int,
) -> Iterator[Markup]:
    run: list[tuple[float, float]] = []
    dots = []
    for start, found in values:
        if found is None:
            yield from _stroke(run, LINES[place])
            run = []
            continue
        middle = (times.share(start) + times.share(start + step)) / 2
        x, y = area.x(middle), area.y(scale.share(found[place]))
        run.append((x, y))
        said = f"{moment(start, times.zone)}: {LINES[place]} {span(found[place])}"
        dots.append(element("circle", element("title", said), class_=LINES[place], cx=x, cy=y, r=2.4))
    yield from _stroke(run, LINES[place])
    yield from dots


def _stroke(run: Sequence[tuple[float, float]], name: str) -> Iterator[Markup]:
    if len(run) > 1:
        yield element("polyline", class_=name, points=" ".join(f"{x:.1f},{y:.1f}" for x, y in run))
