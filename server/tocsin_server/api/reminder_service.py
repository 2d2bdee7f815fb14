"""ReminderService: read the request, call, answer."""

from __future__ import annotations

from tocsin.v1 import reminder_service_pb2 as pb

from tocsin_server.api.answers import reminders as answers
from tocsin_server.api.aside import aside
from tocsin_server.api.interceptors.call import Call
from tocsin_server.api.payload_rules import NO_RULES, PayloadRules
from tocsin_server.api.requests import reminders as requests
from tocsin_server.operations.reminders.reminders import Reminders


class ReminderService:
    """Looks after sets of reminders."""

    def __init__(self, reminders: Reminders, rules: PayloadRules = NO_RULES) -> None:
        self._reminders = reminders
        self._rules = rules

    async def ScheduleBookingReminders(
        self, request: pb.ScheduleBookingRemindersRequest, call: Call
    ) -> pb.ScheduleBookingRemindersResponse:
        asked = await aside(request.ByteSize(), lambda: requests.schedule_booking(request))
        self._rules.check_reminder("reminder", request.reminder)
        shown = await self._reminders.schedule(*asked)
        return pb.ScheduleBookingRemindersResponse(set=answers.set_of(shown))

    async def SchedulePaymentReminders(
        self, request: pb.SchedulePaymentRemindersRequest, call: Call
    ) -> pb.SchedulePaymentRemindersResponse:
        asked = await aside(request.ByteSize(), lambda: requests.schedule_payment(request))
        self._rules.check_reminder("reminder", request.reminder)
        shown = await self._reminders.schedule(*asked)
        return pb.SchedulePaymentRemindersResponse(set=answers.set_of(shown))

    async def GetReminders(self, request: pb.GetRemindersRequest, call: Call) -> pb.GetRemindersResponse:
        shown = await self._reminders.show(requests.named_set(request))
        return pb.GetRemindersResponse(set=answers.set_of(shown))

    async def CancelReminders(self, request: pb.CancelRemindersRequest, call: Call) -> pb.CancelRemindersResponse:
        shown = await self._reminders.cancel(*requests.cancel_reminders(request))
        return pb.CancelRemindersResponse(set=answers.set_of(shown))
