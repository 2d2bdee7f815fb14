"""Reminder sets."""

from __future__ import annotations

from tocsin.v1 import job_pb2
from tocsin.v1 import reminder_service_pb2 as pb

from tocsin_server.api.times import set_time
from tocsin_server.operations.reminders.reminders import ShownSet


def set_of(shown: ShownSet) -> pb.ReminderSet:
    """A set, and what stands of its reminders."""
    target = pb.ReminderSet()
    target.queue = shown.name.queue
    target.kind = pb.ReminderSet.Kind.ValueType(shown.name.kind)
    target.id = shown.name.set_id
    set_time(target.anchor_time, shown.anchor)
    target.cancelled = shown.cancelled
    target.revision = shown.revision
    target.warnings.extend(shown.warnings)
    for entry in shown.reminders:
        reminder = target.reminders.add(job_id=entry.job_id, skipped=not entry.job_id)
        reminder.offset.FromTimedelta(entry.offset)
        reminder.offset.SetInParent()  # also where it is 0
        set_time(reminder.send_time, entry.send_time)
        if entry.state is not None:
            reminder.state = job_pb2.Job.State.ValueType(entry.state)
    return target
