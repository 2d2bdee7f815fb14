"""A calendar as both stores keep it: JSON. Name and revision stand beside it."""

from __future__ import annotations

import json
from datetime import date
from functools import lru_cache

from tocsin_server.domain.schedules.calendars import KeptCalendar
from tocsin_server.domain.schedules.timing import Calendar
from tocsin_server.domain.times import time_to_ms, to_time


def calendar_bytes(calendar: KeptCalendar) -> bytes:
    """All of it but name and revision."""
    days = calendar.days
    said = {
        "dates": sorted(day.isoformat() for day in days.dates),
        "weekdays": sorted(days.weekdays),
        "ics": days.ics,
        "zone": days.time_zone,
        "note": calendar.note,
        "updated": None if calendar.update_time is None else time_to_ms(calendar.update_time),
    }
    return json.dumps(said, separators=(",", ":")).encode()


@lru_cache(maxsize=64)  # of the same bytes the same object: its days are made ready once (domain/schedules/days_off.py)
def calendar_of(name: str, revision: int, stored: bytes) -> KeptCalendar:
    """The calendar of such bytes."""
    said = json.loads(stored)
    days = Calendar(
        frozenset(map(date.fromisoformat, said["dates"])), frozenset(said["weekdays"]), said["ics"], said["zone"]
    )
    updated = said["updated"]
    return KeptCalendar(name, days, said["note"], revision, None if updated is None else to_time(updated))
