"""ScheduleService: read the request, call or reckon, answer."""

from __future__ import annotations

import time
from itertools import islice

from tocsin.v1 import schedule_service_pb2 as pb

from tocsin_server.api.answers import kept_schedules as kept
from tocsin_server.api.answers import schedules as answers
from tocsin_server.api.aside import TURN, off_loop
from tocsin_server.api.interceptors.call import Call
from tocsin_server.api.payload_rules import NO_RULES, PayloadRules
from tocsin_server.api.requests import kept_schedules as kept_requests
from tocsin_server.api.requests import schedules as requests
from tocsin_server.domain.job import View
from tocsin_server.domain.schedules.calendars import days_of
from tocsin_server.domain.schedules.standing import Schedule
from tocsin_server.operations.backfill import backfill
from tocsin_server.operations.calendars import read_by_name
from tocsin_server.operations.schedules import KeptSchedules
from tocsin_server.operations.store_clock import StoreClock
from tocsin_server.store.interface import JobStore

_JOB = "schedule.job"  # the path of what is sent
_PAGE = 100  # schedules of one call to the store


class ScheduleService:
    """Keeps recurring schedules, and reckons their times."""

    def __init__(
        self, store: JobStore, schedules: KeptSchedules, clock: StoreClock, rules: PayloadRules = NO_RULES
    ) -> None:
        self._store = store
        self._schedules = schedules
        self._clock = clock
        self._rules = rules

    async def CreateSchedule(self, request: pb.CreateScheduleRequest, call: Call) -> pb.CreateScheduleResponse:
        spec, job = kept_requests.create_schedule(request)
        self._rules.check_payload(_JOB, job.payload)
        made = await self._schedules.create(spec, job)
        return kept.of_schedule(pb.CreateScheduleResponse, made, await self._schedules.calendars(made))

    async def GetSchedule(self, request: pb.GetScheduleRequest, call: Call) -> pb.GetScheduleResponse:
        found = await self._schedules.get(*kept_requests.named_schedule(request))
        return kept.of_schedule(pb.GetScheduleResponse, found, await self._schedules.calendars(found), View.FULL)

    async def ListSchedules(self, request: pb.ListSchedulesRequest, call: Call) -> pb.ListSchedulesResponse:
        queue, after, wanted = kept_requests.list_schedules(request)
        wanted = min(wanted, _PAGE)
        found = await self._store.schedules.schedules(queue, after=after, limit=wanted, view=View.BASIC)
        return kept.listed(found, wanted)

    async def UpdateSchedule(self, request: pb.UpdateScheduleRequest, call: Call) -> pb.UpdateScheduleResponse:
        queue, schedule_id, revision = kept_requests.update_schedule(request)

        def merged(standing: Schedule) -> kept_requests.Wanted:
            spec, job = kept_requests.merged(kept.written(standing), request)
            if "job" in request.update_mask.paths:  # what stood before the rules may be changed elsewhere
                self._rules.check_payload(_JOB, job.payload)
            return spec, job

        changed = await self._schedules.update(queue, schedule_id, merged, revision=revision)
        return kept.of_schedule(pb.UpdateScheduleResponse, changed, await self._schedules.calendars(changed))

    async def DeleteSchedule(self, request: pb.DeleteScheduleRequest, call: Call) -> pb.DeleteScheduleResponse:
        await self._schedules.delete(*kept_requests.named_schedule(request))
        return pb.DeleteScheduleResponse()

    async def PauseSchedule(self, request: pb.PauseScheduleRequest, call: Call) -> pb.PauseScheduleResponse:
        paused = await self._schedules.pause(*kept_requests.pause_schedule(request))
        return kept.of_schedule(pb.PauseScheduleResponse, paused, {})

    async def ResumeSchedule(self, request: pb.ResumeScheduleRequest, call: Call) -> pb.ResumeScheduleResponse:
        resumed = await self._schedules.resume(*kept_requests.named_schedule(request))
        return kept.of_schedule(pb.ResumeScheduleResponse, resumed, await self._schedules.calendars(resumed))

    async def TriggerSchedule(self, request: pb.TriggerScheduleRequest, call: Call) -> pb.TriggerScheduleResponse:
        job_id = await self._schedules.trigger(*kept_requests.named_schedule(request))
        return pb.TriggerScheduleResponse(job_id=job_id)

    async def BackfillSchedule(self, request: pb.BackfillScheduleRequest, call: Call) -> pb.BackfillScheduleResponse:
        asked = kept_requests.backfill_schedule(request)
        return answers.backfilled(await backfill(self._store, *asked, dry_run=request.dry_run))

    async def PreviewSchedule(self, request: pb.PreviewScheduleRequest, call: Call) -> pb.PreviewScheduleResponse:
        now, standing = self._clock.now(), None
        if (named := requests.previewed_schedule(request)) is not None:
            standing = await self._schedules.get(*named)
            kept_calendars = await self._schedules.calendars(standing)
        else:
            kept_calendars = await read_by_name(self._store, requests.calendars_wanted(request))
        days = days_of(kept_calendars)
        # A time that comes once in forty years takes milliseconds to find, however small the request is.
        times = await off_loop(lambda: requests.preview(request, now, days, standing))
        preview = answers.Preview()

        def turn() -> bool:
            end = time.monotonic() + TURN
            while preview.take(islice(times, 1)):
                if time.monotonic() > end:
                    return True
            return False

        while await off_loop(turn):  # other large requests have theirs between them
            pass
        return preview.answer
