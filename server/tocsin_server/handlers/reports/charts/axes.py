"""Axes: times along the bottom, amounts or spans up the left."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo

from markupsafe import Markup

from tocsin_server.handlers.reports.charts.svg import Area, element
from tocsin_server.handlers.reports.words import number, span
from tocsin_server.operations.reporting.intervals import handy_step, start_of

_MONTHS = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split()
_DAY = timedelta(days=1)

#: About ten times as long from one to the next, and round to a reader.
_SPANS = (
    *(timedelta(milliseconds=n) for n in (1, 10, 100)),
    *(timedelta(seconds=n) for n in (1, 10)),
    *(timedelta(minutes=n) for n in (1, 10)),
    timedelta(hours=1),
    *(timedelta(days=n) for n in (1, 10, 100, 1_000, 10_000, 100_000)),
)


@dataclass(frozen=True, slots=True)
class Times:
    """The window along the bottom."""

    start: datetime
    end: datetime
    zone: tzinfo = UTC
    ahead: timedelta = timedelta(0)  # of UTC

    def share(self, time: datetime) -> float:
        """How far along a time is; what is outside the window is at its edge."""
        return min(1.0, max(0.0, (time - self.start) / (self.end - self.start)))

    def draw(self, area: Area) -> Iterator[Markup]:
        """The axis with its labels."""
        yield element("line", class_="axis", x1=area.LEFT, x2=area.x(1), y1=area.base, y2=area.base)
        step = handy_step(self.end - self.start, area.most_labels)
        at, day = start_of(self.start, step, self.ahead), None
        while at < self.end:
            if at >= self.start:
                x = area.x(self.share(at))
                local = at.astimezone(self.zone)
                label = _label(local, step, new_day=day != local.date())
                yield element("line", class_="axis", x1=x, x2=x, y1=area.base, y2=area.base + 4)
                yield element("text", label, x=x, y=area.base + 18, text_anchor=_anchor(x, area))
                day = local.date()
            at += step


def _anchor(x: float, area: Area) -> str:
    # A label at the edge grows inwards, or it would be cut off.
    return "start" if x < area.LEFT + 12 else "end" if x > area.width - area.RIGHT - 12 else "middle"


def _label(at: datetime, step: timedelta, *, new_day: bool) -> str:
    if step >= 28 * _DAY:
        return f"{_MONTHS[at.month - 1]} {at.year}"
    if step >= _DAY or (new_day and (at.hour, at.minute, at.second) == (0, 0, 0)):
        return f"{_MONTHS[at.month - 1]} {at.day}"
    return f"{at:%H:%M}" if step >= timedelta(minutes=1) else f"{at:%H:%M:%S}"


@dataclass(frozen=True, slots=True)
class Amounts:
    """Whole numbers from 0 up, in even steps."""

    ticks: Sequence[int]

    @classmethod
    def up_to(cls, greatest: int) -> Amounts:
        """Round steps, so many that they can be read."""
        rough = max(1, greatest) / 4
        size = 10 ** math.floor(math.log10(rough)) if rough >= 1 else 1
        step = next(int(size * n) for n in (1, 2, 5, 10) if size * n >= rough)
        return cls(range(0, step * max(1, math.ceil(greatest / step)) + 1, step))

    def share(self, amount: int) -> float:
        """How far up an amount is."""
        return amount / self.ticks[-1]

    def draw(self, area: Area) -> Iterator[Markup]:
        """Lines across, with their numbers."""
        for tick in self.ticks:
            yield from _line_across(area, self.share(tick), number(tick))


@dataclass(frozen=True, slots=True)
class Spans:
    """Spans of time on a logarithmic scale: short and long ones can be read on one page."""

    ticks: Sequence[timedelta]

    @classmethod
    def between(cls, least: timedelta, greatest: timedelta) -> Spans:
        """Ticks around both; what is under 1 ms stands at 1 ms."""
        first = max((i for i, tick in enumerate(_SPANS) if tick <= least), default=0)
        last = min((i for i, tick in enumerate(_SPANS) if tick >= greatest), default=len(_SPANS) - 1)
        if first == last:
            first, last = (first, last + 1) if last + 1 < len(_SPANS) else (first - 1, last)
        return cls(_SPANS[first : last + 1])

    def share(self, value: timedelta) -> float:
        """How far up a span is."""
        least, greatest = self.ticks[0], self.ticks[-1]
        value = min(max(value, least), greatest)
        return math.log(value / least) / math.log(greatest / least)

    def draw(self, area: Area) -> Iterator[Markup]:
        """Lines across, with their spans."""
        for tick in self.ticks:
            yield from _line_across(area, self.share(tick), span(tick))


def _line_across(area: Area, share: float, label: str) -> Iterator[Markup]:
    y = area.y(share)
    yield element("line", class_="grid", x1=area.LEFT, x2=area.x(1), y1=y, y2=y)
    yield element("text", label, x=area.LEFT - 8, y=y + 4, text_anchor="end")
