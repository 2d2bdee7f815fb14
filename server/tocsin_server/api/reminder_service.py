"""ReminderService: check, translate, call, translate back."""

from __future__ import annotations

from tocsin.v1 import reminder_service_pb2 as pb

from tocsin_server.api.aside import aside
from tocsin_server.api.convert.reminders import fill_set, to_name, to_payload_of, to_wish
from tocsin_server.api.interceptors.call import Call
from tocsin_server.api.validation import reminders as rules
from tocsin_server.domain.reminders import Kind
from tocsin_server.operations.reminders.reminders import Reminders


class ReminderService:
    """Looks after sets of reminders."""

    def __init__(self, reminders: Reminders) -> None:
        self._reminders = reminders

    async def ScheduleBookingReminders(
        self, request: pb.ScheduleBookingRemindersRequest, call: Call
    ) -> pb.ScheduleBookingRemindersResponse:
        await aside(request.ByteSize(), lambda: rules.check_schedule_booking(request))
        kind, reminder = Kind.BOOKING, request.reminder
        name = to_name(request.queue, kind, reminder.booking_id)
        shown = await self._reminders.schedule(
            name, to_wish(kind, reminder, request.offsets), to_payload_of(kind, reminder)
        )
        response = pb.ScheduleBookingRemindersResponse()
        fill_set(response.set, shown)
        return response

    async def SchedulePaymentReminders(
        self, request: pb.SchedulePaymentRemindersRequest, call: Call
    ) -> pb.SchedulePaymentRemindersResponse:
        await aside(request.ByteSize(), lambda: rules.check_schedule_payment(request))
        kind, reminder = Kind.PAYMENT, request.reminder
        name = to_name(request.queue, kind, reminder.payment_id)
        shown = await self._reminders.schedule(
            name, to_wish(kind, reminder, request.offsets), to_payload_of(kind, reminder)
        )
        response = pb.SchedulePaymentRemindersResponse()
        fill_set(response.set, shown)
        return response

    async def GetReminders(self, request: pb.GetRemindersRequest, call: Call) -> pb.GetRemindersResponse:
        rules.check_names_set(request)
        response = pb.GetRemindersResponse()
        fill_set(response.set, await self._reminders.show(to_name(request.queue, request.kind, request.id)))
        return response

    async def CancelReminders(self, request: pb.CancelRemindersRequest, call: Call) -> pb.CancelRemindersResponse:
        rules.check_cancel_reminders(request)
        name = to_name(request.queue, request.kind, request.id)
        response = pb.CancelRemindersResponse()
        fill_set(response.set, await self._reminders.cancel(name, request.reason))
        return response
