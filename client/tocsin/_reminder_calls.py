"""The calls of ReminderService; see `_calls`.

They may be repeated: a set that is what was asked for already is left as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import TypeVar

from google.protobuf.message import Message

from tocsin._calls import PreparedCall
from tocsin._checking import listed, put, word
from tocsin._fields import refuse_unknown
from tocsin._times import put_duration, put_time
from tocsin.enums import ReminderKind
from tocsin.errors import InvalidArgument, WrongType
from tocsin.payloads import struct_from_dict
from tocsin.reminders import BookingOptions, KindName, PaymentOptions, ReminderOptions, ReminderSet
from tocsin.v1 import payloads_pb2
from tocsin.v1 import reminder_service_pb2 as pb

Answer = TypeVar("Answer", bound=Message)

REMINDER_SERVICE = "tocsin.v1.ReminderService"

#: A call waits for attempts that send just now; those of a server that died end with their leases, after 30 s.
_PATIENCE = timedelta(seconds=45)


def schedule_booking(
    booking_id: str, booking_time: datetime, options: BookingOptions
) -> PreparedCall[pb.ScheduleBookingRemindersResponse, ReminderSet]:
    """ScheduleBookingReminders."""
    refuse_unknown("schedule_booking_reminders", options, _known(BookingOptions))
    request = pb.ScheduleBookingRemindersRequest()
    reminder = request.reminder
    put(reminder, "booking_id", booking_id, "reminder.booking_id")
    put_time(reminder.booking_time, booking_time, "reminder.booking_time")
    put(reminder, "location", options.get("location", ""), "reminder.location")
    put(reminder, "booking_url", options.get("booking_url", ""), "reminder.booking_url")
    _put_options(request, reminder, options)
    return _call("ScheduleBookingReminders", request, pb.ScheduleBookingRemindersResponse, lambda answer: answer.set)


def schedule_payment(
    payment_id: str, due_time: datetime, amount_minor: int, currency: str, options: PaymentOptions
) -> PreparedCall[pb.SchedulePaymentRemindersResponse, ReminderSet]:
    """SchedulePaymentReminders."""
    refuse_unknown("schedule_payment_reminders", options, _known(PaymentOptions))
    request = pb.SchedulePaymentRemindersRequest()
    reminder = request.reminder
    put(reminder, "payment_id", payment_id, "reminder.payment_id")
    put_time(reminder.due_time, due_time, "reminder.due_time")
    if not isinstance(amount_minor, int):
        raise WrongType.of(
            "reminder.amount_minor", "is an integer, in the currency's minor units: 2500 for EUR 25.00, 25 for JPY 25"
        )
    put(reminder, "amount_minor", amount_minor, "reminder.amount_minor")
    put(reminder, "currency", currency, "reminder.currency")
    put(reminder, "payment_url", options.get("payment_url", ""), "reminder.payment_url")
    _put_options(request, reminder, options)
    return _call("SchedulePaymentReminders", request, pb.SchedulePaymentRemindersResponse, lambda answer: answer.set)


def get(kind: KindName, set_id: str, queue: str = "") -> PreparedCall[pb.GetRemindersResponse, ReminderSet]:
    """GetReminders."""
    request = pb.GetRemindersRequest()
    _put_name(request, kind, set_id, queue)
    return _call("GetReminders", request, pb.GetRemindersResponse, lambda answer: answer.set)


def cancel(
    kind: KindName, set_id: str, queue: str = "", reason: str = ""
) -> PreparedCall[pb.CancelRemindersResponse, ReminderSet]:
    """CancelReminders."""
    request = pb.CancelRemindersRequest()
    _put_name(request, kind, set_id, queue)
    put(request, "reason", reason, "reason")
    return _call("CancelReminders", request, pb.CancelRemindersResponse, lambda answer: answer.set)


def _put_name(
    request: pb.GetRemindersRequest | pb.CancelRemindersRequest, kind: KindName, set_id: str, queue: str
) -> None:
    request.kind = pb.ReminderSet.Kind.Value(word(ReminderKind, kind, "kind"))
    put(request, "id", set_id, "id")
    put(request, "queue", queue, "queue")


def _put_options(
    request: pb.ScheduleBookingRemindersRequest | pb.SchedulePaymentRemindersRequest,
    reminder: payloads_pb2.BookingReminder | payloads_pb2.PaymentReminder,
    options: ReminderOptions,
) -> None:
    put(request, "queue", options.get("queue", ""), "queue")
    for i, offset in enumerate(listed(options.get("offsets", ()), "offsets")):
        put_duration(request.offsets.add(), offset, f"offsets[{i}]")
    for name, recipients in (("email_to", options.get("email_to", ())), ("sms_to", options.get("sms_to", ()))):
        path = f"reminder.{name}"
        try:
            getattr(reminder, name).extend(listed(recipients, path))
        except ValueError as error:
            raise InvalidArgument.of(path, f"cannot be sent: {error}") from None
        except TypeError as error:
            if isinstance(error, WrongType):
                raise
            raise WrongType.of(path, str(error)) from None
    for name, text in (
        ("time_zone", options.get("time_zone", "")),
        ("title", options.get("title", "")),
        ("recipient_name", options.get("recipient_name", "")),
        ("template", options.get("template", "")),
    ):
        put(reminder, name, text, f"reminder.{name}")
    data = options.get("template_data")
    if data is not None:
        reminder.template_data.CopyFrom(struct_from_dict(data, "reminder.template_data"))


def _known(options: type[ReminderOptions]) -> Mapping[str, object]:
    return {**ReminderOptions.__annotations__, **options.__annotations__}


def _call(
    method: str, request: Message, answer: type[Answer], set_of: Callable[[Answer], pb.ReminderSet]
) -> PreparedCall[Answer, ReminderSet]:
    return PreparedCall(
        f"/{REMINDER_SERVICE}/{method}",
        request,
        answer,
        lambda answered: ReminderSet.read(set_of(answered)),
        repeatable=True,
        patience=_PATIENCE,
    )
