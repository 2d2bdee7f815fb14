"""Calendars that are kept."""

from __future__ import annotations

from collections.abc import Sequence

from tocsin.v1 import calendar_pb2
from tocsin.v1 import calendar_service_pb2 as pb

from tocsin_server.api import page_tokens
from tocsin_server.api.sized import AnswerRoom
from tocsin_server.api.times import set_time
from tocsin_server.domain.schedules.calendars import KeptCalendar
from tocsin_server.domain.schedules.timing import WEEKDAYS


def calendar_message(calendar: KeptCalendar) -> calendar_pb2.Calendar:
    """A calendar whole: dates in their order, days of the week from Monday on."""
    days = calendar.days
    message = calendar_pb2.Calendar(
        name=calendar.name,
        dates=sorted(day.isoformat() for day in days.dates),
        weekdays=[WEEKDAYS[day] for day in sorted(days.weekdays)],
        ics=days.ics,
        time_zone=days.time_zone,
        note=calendar.note,
        revision=calendar.revision,
    )
    if calendar.update_time is not None:
        set_time(message.update_time, calendar.update_time)
    return message


def listed(calendars: Sequence[KeptCalendar], wanted: int) -> pb.ListCalendarsResponse:
    """A page, which ends early before it passes the limit of an answer."""
    answer, room = pb.ListCalendarsResponse(), AnswerRoom()
    for calendar in calendars:
        entry = calendar_message(calendar)
        if not room.takes(entry):
            break
        answer.calendars.append(entry)
    if len(answer.calendars) < len(calendars) or len(calendars) == wanted:
        answer.next_page_token = page_tokens.calendars_token(answer.calendars[-1].name)
    return answer
