"""A list query as page.lua reads it."""

from __future__ import annotations

import struct
from collections.abc import Mapping

from tocsin_server.domain.filters import JobFilter, ListQuery, Order, Window
from tocsin_server.domain.job import View
from tocsin_server.domain.states import State
from tocsin_server.domain.times import time_to_ms

INSPECT = 1_000  # records one call may look at
BYTES = 3_300_000  # what one call may answer: a response ends at 3.5 MiB
_TESTS = struct.Struct(">Bii6s6s6s6s6s6s")
_LAST = (1 << 48) - 1
_PRIORITIES = -(1 << 31), (1 << 31) - 1


def page_arguments(query: ListQuery) -> list[bytes | str | int]:
    """ARGV of page.lua."""
    after, skip = query.after, query.skip
    arrival, due = -1, 0
    if after is not None:
        arrival, skip = after.arrival, after.skip
        due = time_to_ms(after.due) if after.due else 0
    wanted = query.filter
    states = sorted(wanted.states or ({State.SCHEDULED} if query.order is Order.SOONEST else ()))
    return [
        query.order.name,
        query.limit,
        skip,
        arrival,
        due,
        "1" if query.view is View.FULL else "0",
        _tests(wanted),
        INSPECT,
        BYTES,
        len(states),
        *map(int, states),
        len(wanted.types),
        *sorted(wanted.types),
        *(f"#{name}={value}" for name, value in wanted.tags.items()),
    ]


def _tests(wanted: JobFilter) -> bytes:
    bounds = [bound for window in (wanted.scheduled, wanted.created, wanted.ended) for bound in _bounds(window)]
    low = _PRIORITIES[0] if wanted.priority_min is None else wanted.priority_min
    high = _PRIORITIES[1] if wanted.priority_max is None else wanted.priority_max
    tested = (low, high) != _PRIORITIES or any(
        window != Window() for window in (wanted.scheduled, wanted.created, wanted.ended)
    )
    return _TESTS.pack(tested, low, high, *bounds)


def _bounds(window: Window) -> tuple[bytes, bytes]:
    start = 0 if window.start is None else max(0, time_to_ms(window.start))
    end = _LAST if window.end is None else max(0, time_to_ms(window.end))
    return start.to_bytes(6, "big"), min(end, _LAST).to_bytes(6, "big")


def page_total(wanted: JobFilter, counts: Mapping[State, Mapping[str, int]]) -> int:
    """How many jobs match a filter of states and types alone."""
    return sum(
        number
        for state, types in counts.items()
        if not wanted.states or state in wanted.states
        for kind, number in types.items()
        if not wanted.types or kind in wanted.types
    )
