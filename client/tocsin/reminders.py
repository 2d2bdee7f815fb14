"""Reminder sets, as users see them and ask for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal, TypeAlias, TypedDict

from tocsin._times import Span, read_duration, read_time
from tocsin.enums import ReminderKind, State
from tocsin.v1 import job_pb2, reminder_service_pb2

#: A kind by its word.
KindName: TypeAlias = ReminderKind | Literal["BOOKING", "PAYMENT"]


@dataclass(frozen=True, slots=True)
class Reminder:
    """One reminder of a set."""

    offset: timedelta  # before the anchor; negative: after it
    send_time: datetime
    job_id: str  # "": none was made, as its time had passed
    state: State | None  # of its job; None: it has none, or none any more
    skipped: bool  # its time had passed when the set was scheduled or moved: it is not sent

    @classmethod
    def read(cls, message: reminder_service_pb2.Reminder) -> Reminder:
        """The reminder that a message holds."""
        return cls(
            offset=read_duration(message.offset),
            send_time=read_time(message.send_time),
            job_id=message.job_id,
            state=State(job_pb2.Job.State.Name(message.state)) if message.state else None,
            skipped=message.skipped,
        )


@dataclass(frozen=True, slots=True)
class ReminderSet:
    """The reminders of one booking or payment. `message` is the tocsin.v1 message it was read from."""

    queue: str
    kind: ReminderKind
    id: str
    anchor_time: datetime
    reminders: tuple[Reminder, ...]  # the earliest first
    cancelled: bool
    revision: int  # grows with each move and cancel
    message: reminder_service_pb2.ReminderSet = field(repr=False, compare=False)
    warnings: tuple[str, ...] = ()  # what keeps them from being sent as the servers are set up at present

    @classmethod
    def read(cls, message: reminder_service_pb2.ReminderSet) -> ReminderSet:
        """The set that a message holds."""
        return cls(
            queue=message.queue,
            kind=ReminderKind(reminder_service_pb2.ReminderSet.Kind.Name(message.kind)),
            id=message.id,
            anchor_time=read_time(message.anchor_time),
            reminders=tuple(map(Reminder.read, message.reminders)),
            cancelled=message.cancelled,
            revision=message.revision,
            message=message,
            warnings=tuple(message.warnings),
        )


class ReminderOptions(TypedDict, total=False):
    """What both kinds of sets take. All may be left out, but one recipient at least is needed."""

    queue: str  # "default"
    offsets: Sequence[Span]  # seconds or timedeltas before the anchor; the kind's own where left out
    email_to: Sequence[str]
    sms_to: Sequence[str]  # "+4915112345678"
    time_zone: str  # in which times are shown, "Europe/Berlin"; UTC
    title: str  # what was booked, or is to be paid for
    recipient_name: str  # whom the message greets
    template: str
    template_data: Mapping[str, object]


class BookingOptions(ReminderOptions, total=False):
    """What `schedule_booking_reminders` takes beside id and time."""

    location: str  # where it is
    booking_url: str  # where it is looked at or changed, an https:// address


class PaymentOptions(ReminderOptions, total=False):
    """What `schedule_payment_reminders` takes beside id, time and amount."""

    payment_url: str  # where to pay, an https:// address
