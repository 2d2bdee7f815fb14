"""CalendarService: read the request, call, answer."""

from __future__ import annotations

from tocsin.v1 import calendar_service_pb2 as pb

from tocsin_server.api.answers import calendars as answers
from tocsin_server.api.aside import aside
from tocsin_server.api.interceptors.call import Call
from tocsin_server.api.requests import calendars as requests
from tocsin_server.operations.calendars import KeptCalendars
from tocsin_server.store.interface import JobStore


class CalendarService:
    """Keeps calendars of days off."""

    def __init__(self, store: JobStore, calendars: KeptCalendars) -> None:
        self._store = store
        self._calendars = calendars

    async def PutCalendar(self, request: pb.PutCalendarRequest, call: Call) -> pb.PutCalendarResponse:
        wanted, revision = await aside(request.ByteSize(), lambda: requests.put_calendar(request))
        put = await self._calendars.put(wanted, revision=revision)
        return pb.PutCalendarResponse(calendar=answers.calendar_message(put))

    async def GetCalendar(self, request: pb.GetCalendarRequest, call: Call) -> pb.GetCalendarResponse:
        found = await self._calendars.get(requests.named_calendar(request))
        return pb.GetCalendarResponse(calendar=answers.calendar_message(found))

    async def ListCalendars(self, request: pb.ListCalendarsRequest, call: Call) -> pb.ListCalendarsResponse:
        after, wanted = requests.list_calendars(request)
        return answers.listed(await self._store.calendars.calendars(after=after, limit=wanted), wanted)

    async def DeleteCalendar(self, request: pb.DeleteCalendarRequest, call: Call) -> pb.DeleteCalendarResponse:
        await self._calendars.delete(requests.named_calendar(request))
        return pb.DeleteCalendarResponse()
