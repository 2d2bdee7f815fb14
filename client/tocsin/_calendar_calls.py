"""The calls of CalendarService, and the days of any calendar that is sent; see `_calls`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, MutableSequence
from datetime import date
from typing import TypeVar

from google.protobuf.message import Message

from tocsin._calls import PreparedCall
from tocsin._checking import listed, put
from tocsin._fields import refuse_unknown
from tocsin.calendars import CalendarOptions, KeptCalendar
from tocsin.errors import InvalidArgument, WrongType
from tocsin.v1 import calendar_pb2
from tocsin.v1 import calendar_service_pb2 as pb

_SERVICE = "tocsin.v1.CalendarService"

Answer = TypeVar("Answer", bound=Message)
Result = TypeVar("Result")

CalendarPage = tuple[list[KeptCalendar], str]


def put_calendar(
    name: str, revision: int, options: CalendarOptions
) -> PreparedCall[pb.PutCalendarResponse, KeptCalendar]:
    """PutCalendar."""
    refuse_unknown("put", options, CalendarOptions.__annotations__)
    request = pb.PutCalendarRequest()
    put(request.calendar, "name", name, "name")
    put_days(
        request.calendar,
        options.get("dates", ()),
        options.get("weekdays", ()),
        options.get("ics", ""),
        options.get("time_zone", ""),
    )
    put(request.calendar, "note", options.get("note", ""), "note")
    put(request.calendar, "revision", revision, "revision")
    # Repeated without a revision it changes nothing more.
    return _call(
        "PutCalendar",
        request,
        pb.PutCalendarResponse,
        lambda answer: KeptCalendar.read(answer.calendar),
        repeatable=not revision,
    )


def get(name: str) -> PreparedCall[pb.GetCalendarResponse, KeptCalendar]:
    """GetCalendar."""
    request = pb.GetCalendarRequest()
    put(request, "name", name, "name")

    def read(answer: pb.GetCalendarResponse) -> KeptCalendar:
        return KeptCalendar.read(answer.calendar)

    return _call("GetCalendar", request, pb.GetCalendarResponse, read, repeatable=True)


def list_page(page_token: str) -> PreparedCall[pb.ListCalendarsResponse, CalendarPage]:
    """ListCalendars, one page."""

    def read(answer: pb.ListCalendarsResponse) -> CalendarPage:
        return list(map(KeptCalendar.read, answer.calendars)), answer.next_page_token

    request = pb.ListCalendarsRequest(page_token=page_token)
    return _call("ListCalendars", request, pb.ListCalendarsResponse, read, repeatable=True)


def delete(name: str) -> PreparedCall[pb.DeleteCalendarResponse, None]:
    """DeleteCalendar."""
    request = pb.DeleteCalendarRequest()
    put(request, "name", name, "name")
    return _call("DeleteCalendar", request, pb.DeleteCalendarResponse, lambda _: None)


def put_days(
    target: calendar_pb2.Calendar,
    dates: Iterable[date | str],
    weekdays: Iterable[str],
    ics: str,
    time_zone: str,
    path: str = "",
) -> None:
    """Write the days of a calendar; `path` stands before the names of what is wrong."""
    days = [day.isoformat() if type(day) is date else day for day in listed(dates, f"{path}dates")]
    extend(target.dates, days, f"{path}dates")
    extend(target.weekdays, weekdays, f"{path}weekdays")
    put(target, "ics", ics, f"{path}ics")
    put(target, "time_zone", time_zone, f"{path}time_zone")


def extend(field: MutableSequence[str], values: Iterable[object], path: str) -> None:
    """Texts. Raises InvalidArgument for one that is not valid Unicode, WrongType for what is no text."""
    for i, value in enumerate(listed(values, path)):
        if not isinstance(value, str):
            raise WrongType.of(f"{path}[{i}]", f"is text, not of type {type(value).__name__}")
        try:
            field.append(value)
        except ValueError as error:
            raise InvalidArgument.of(f"{path}[{i}]", f"cannot be sent: {error}") from None


def _call(
    method: str, request: Message, answer: type[Answer], read: Callable[[Answer], Result], repeatable: bool = False
) -> PreparedCall[Answer, Result]:
    return PreparedCall(f"/{_SERVICE}/{method}", request, answer, read, repeatable=repeatable)
