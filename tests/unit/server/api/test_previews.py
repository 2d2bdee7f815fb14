"""An answer of PreviewSchedule stays below the limit of answers, whatever its times have to tell."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import count

from tocsin_server.api.answers.schedules import Preview
from tocsin_server.domain import limits
from tocsin_server.domain.schedules.timing import Excluded, Occurrence

FIRST = datetime(2026, 12, 1, tzinfo=UTC)


def moved(notes: int) -> Iterator[Occurrence]:
    """Times without end, each with what other days were moved to it."""
    for days in count():
        time = FIRST + timedelta(days=days)
        yield Occurrence(time, time, time, True, tuple(Excluded("c" * 100, time, time) for _ in range(notes)))


def test_an_answer_ends_where_it_is_full() -> None:
    preview = Preview()
    assert not preview.take(moved(300))
    assert 3 << 20 < preview.answer.ByteSize() <= limits.RESPONSE_BYTES
    assert preview.answer.occurrences[-1].notes


def test_times_are_taken_turn_by_turn_until_none_is_left() -> None:
    preview, times = Preview(), moved(0)
    assert preview.take([next(times), next(times)])
    assert preview.take([next(times)])
    assert not preview.take([])
    assert [one.time.ToDatetime(UTC).day for one in preview.answer.occurrences] == [1, 2, 3]
