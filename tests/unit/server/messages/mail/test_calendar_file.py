"""Files for calendars."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st
from tocsin_server.messages.mail.calendar_file import CalendarEvent, calendar_file, calendar_uid

_HEAD = ("BEGIN", "VERSION", "PRODID", "METHOD", "BEGIN")
NOW = datetime(2026, 11, 24, 16, 30, tzinfo=UTC)


def lines_of(event: CalendarEvent) -> list[str]:
    """The lines of its file, unfolded."""
    raw = calendar_file(event, calendar_uid("shop.example", "default", event.booking_id), NOW).content
    assert raw.endswith(b"\r\n")
    assert max(map(len, raw.split(b"\r\n"))) <= 75
    return raw.decode().replace("\r\n ", "").split("\r\n")


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=300))
def test_no_text_breaks_a_line_or_another_field(title: str) -> None:
    lines = lines_of(CalendarEvent("B-1", 1, NOW, title))
    names = [line.partition(":")[0] for line in lines if line]
    assert names == [*_HEAD, "UID", "SEQUENCE", "DTSTAMP", "DTSTART", "SUMMARY", "END", "END"]


def test_a_booking_that_is_moved_is_the_same_event() -> None:
    before, after = (lines_of(CalendarEvent("B-1", revision, NOW, "x")) for revision in (1, 2))
    assert [line for line in before if line.startswith("UID")] == [line for line in after if line.startswith("UID")]
    assert "SEQUENCE:2" in after
    assert "DTSTART:20261124T163000Z" in after


def test_no_two_bookings_are_the_same_event() -> None:
    uids = [
        calendar_uid(domain, queue, booking_id)
        for domain in ("shop.example", "other.example")
        for queue in ("default", "default2")
        for booking_id in ("B-1", "2B-1")
    ]
    assert len(set(uids)) == len(uids)
    assert all(uid.endswith(("@shop.example", "@other.example")) for uid in uids)
