"""ScheduleService: read the request, reckon, answer."""

from __future__ import annotations

from itertools import islice

from tocsin.v1 import schedule_service_pb2 as pb

from tocsin_server.api.answers import schedules as answers
from tocsin_server.api.aside import SMALL_BYTES, aside
from tocsin_server.api.interceptors.call import Call
from tocsin_server.api.requests import schedules as requests
from tocsin_server.operations.store_clock import StoreClock

# What a time or a calendar costs to reckon is as much as so many bytes of a request cost to check.
_TIME_BYTES = 1_024
_TIMES_A_TURN = 50


class ScheduleService:
    """Reckons the times of recurring schedules."""

    def __init__(self, clock: StoreClock) -> None:
        self._clock = clock

    async def PreviewSchedule(self, request: pb.PreviewScheduleRequest, call: Call) -> pb.PreviewScheduleResponse:
        weight = request.ByteSize() + request.count * _TIME_BYTES + len(request.calendars) * SMALL_BYTES
        now = self._clock.now()
        times = await aside(weight, lambda: requests.preview(request, now))
        preview = answers.Preview()
        # In turns, so that other large requests have theirs between them.
        while await aside(weight, lambda: preview.take(islice(times, _TIMES_A_TURN))):
            pass
        return preview.answer
