"""Bounds on what a request holds, checked on its bytes: before anything is made of them that is larger than they are.

A message of sixteen megabytes can have eight million entries, each of which costs far more as an object than on the
wire. So how many entries a repeated field has, and how long a field is that has none of its own here, is looked at
first. Small requests (aside.py) are left to the rules on their messages, which name the same limits: what little they
can hold is cheap.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import NoReturn

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from tocsin_server.api import wire
from tocsin_server.api.aside import SMALL_BYTES
from tocsin_server.api.wire_fields import LENGTH, fields_of
from tocsin_server.domain import http_requests, limits
from tocsin_server.domain.errors import InvalidFields, TooLarge, Violation

#: Entries of each repeated field of a request. A field that is not here is inside one of BYTES.
ENTRIES: Mapping[str, int] = {
    "tocsin.v1.JobSpec.tags": limits.TAGS,
    "tocsin.v1.BatchScheduleJobsRequest.requests": limits.BATCH_ITEMS,
    "tocsin.v1.ListJobsRequest.states": limits.FILTER_STATES,
    "tocsin.v1.ListJobsRequest.types": limits.FILTER_TYPES,
    "tocsin.v1.ListJobsRequest.tags": limits.TAGS,
    "tocsin.v1.BatchCancelJobsRequest.job_ids": limits.BATCH_ITEMS,
    "tocsin.v1.BatchCancelJobsRequest.states": limits.FILTER_STATES,
    "tocsin.v1.BatchCancelJobsRequest.types": limits.FILTER_TYPES,
    "tocsin.v1.BatchCancelJobsRequest.tags": limits.TAGS,
    "tocsin.v1.BatchRetryJobsRequest.job_ids": limits.BATCH_ITEMS,
    "tocsin.v1.BatchRetryJobsRequest.states": limits.FILTER_STATES,
    "tocsin.v1.BatchRetryJobsRequest.types": limits.FILTER_TYPES,
    "tocsin.v1.BatchRetryJobsRequest.tags": limits.TAGS,
    "tocsin.v1.BatchDeleteJobsRequest.job_ids": limits.BATCH_ITEMS,
    "tocsin.v1.BatchDeleteJobsRequest.states": limits.FILTER_STATES,
    "tocsin.v1.BatchDeleteJobsRequest.types": limits.FILTER_TYPES,
    "tocsin.v1.BatchDeleteJobsRequest.tags": limits.TAGS,
    "tocsin.v1.WatchJobsRequest.states": limits.FILTER_STATES,
    "tocsin.v1.WatchJobsRequest.types": limits.FILTER_TYPES,
    "tocsin.v1.PurgeJobsRequest.states": limits.FILTER_STATES,
    "tocsin.v1.PurgeJobsRequest.types": limits.FILTER_TYPES,
    "tocsin.v1.ExportJobsRequest.queues": limits.EXPORT_QUEUES,
    "tocsin.v1.ImportJobsRequest.records": limits.IMPORT_RECORDS,
    "tocsin.v1.DependsOn.parents": limits.PARENTS,
    "tocsin.v1.Job.errors": limits.ERRORS_KEPT,
    "tocsin.v1.Explanation.job_ids": limits.EXPLAINED_IDS,
    "tocsin.v1.Queue.type_defaults": limits.TYPES_PER_QUEUE,
    "tocsin.v1.Queue.limits": limits.LIMITS_PER_QUEUE,
    "tocsin.v1.Queue.shared_limits": limits.SHARED_LIMITS,
    "tocsin.v1.ScheduleBookingRemindersRequest.offsets": limits.REMINDERS_PER_SET,
    "tocsin.v1.SchedulePaymentRemindersRequest.offsets": limits.REMINDERS_PER_SET,
    "tocsin.v1.Cron.lines": limits.CRON_LINES,
    "tocsin.v1.Schedule.calendars": limits.SCHEDULE_CALENDARS,
    "tocsin.v1.Schedule.next_times": limits.PREVIEW_TIMES,
    "tocsin.v1.Calendar.dates": limits.CALENDAR_DATES,
    "tocsin.v1.Calendar.weekdays": limits.CALENDAR_WEEKDAYS,
    "tocsin.v1.SharedLimit.queues": limits.SHARED_LIMIT_QUEUES,
    "tocsin.v1.PreviewScheduleRequest.calendars": limits.SCHEDULE_CALENDARS,
    "tocsin.v1.PushTarget.headers": http_requests.HEADERS,
    "tocsin.v1.Worker.labels": limits.TAGS,
    "tocsin.v1.LeaseAsk.types": limits.ASKED_TYPES,
    "tocsin.v1.LeaseJobsRequest.asks": limits.ASKS,
    "tocsin.v1.ReportOutcomesRequest.outcomes": limits.BATCH_ITEMS,
    "tocsin.v1.ExtendLeasesRequest.heartbeats": limits.BATCH_ITEMS,
    "tocsin.v1.Heartbeat.log": limits.HEARTBEAT_LINES,
    "tocsin.v1.StreamJobsRequest.heartbeats": limits.BATCH_ITEMS,
    "tocsin.v1.StreamJobsRequest.outcomes": limits.BATCH_ITEMS,
    "tocsin.v1.StreamJobsRequest.credits": limits.BATCH_ITEMS,
    "tocsin.v1.StreamJobsRequest.Hello.asks": limits.ASKS,
    "tocsin.v1.StreamJobsRequest.Hello.held_tokens": limits.HELD_TOKENS,
    "tocsin.v1.StreamJobsRequest.Goodbye.unbegun_tokens": limits.HELD_TOKENS,
    "tocsin.v1.BulkFilter.states": limits.FILTER_STATES,
    "tocsin.v1.BulkFilter.types": limits.FILTER_TYPES,
    "tocsin.v1.BulkFilter.tags": limits.TAGS,
    "externalscaler.ScaledObjectRef.scalerMetadata": limits.SCALER_METADATA,
    "google.protobuf.FieldMask.paths": limits.MASK_PATHS,
}

#: Bytes of fields whose own entries are not counted here: as many as so many bytes can hold are cheap enough.
BYTES: Mapping[str, int] = {
    "tocsin.v1.ScheduleBookingRemindersRequest.reminder": limits.JOB_SPEC_BYTES,
    "tocsin.v1.SchedulePaymentRemindersRequest.reminder": limits.JOB_SPEC_BYTES,
}

# Fields of a message that are none of the above, and those that no version knows: a message that has more of them than
# this has the same ones over and over.
_OTHERS = 1_000
_DEPTH = 30  # of messages in messages: a spec can stand in a spec
_CONTINUED = bytes(range(0x80, 0x100))  # bytes of a varint that are not its last


@dataclass(frozen=True, slots=True)
class _Field:
    """What is looked at of one field."""

    name: str
    most: int | None  # entries
    most_bytes: int | None
    packed: bool  # its entries may stand side by side in one field
    inside: Bounds | None


class Bounds:
    """The bounds of a message class."""

    __slots__ = ("_fields", "_most")

    def __init__(self, descriptor: Descriptor) -> None:
        bounded = ((field.number, _bound(field, self)) for field in descriptor.fields)
        self._fields = {number: field for number, field in bounded if field is not None}
        self._most = _OTHERS + sum(field.most or 0 for field in self._fields.values())

    def __bool__(self) -> bool:
        """Whether anything is bounded."""
        return bool(self._fields)

    def check(self, raw: bytes) -> None:
        """InvalidFields, TooLarge; Broken where the bytes are no message: they must not be read then, for what follows
        the break was not looked at."""
        if len(raw) > SMALL_BYTES:
            self._check(raw, 0, len(raw), "", 0)

    def _check(self, raw: bytes, start: int, end: int, path: str, depth: int) -> None:
        if depth > _DEPTH:
            _refuse(path, "is nested too deep")
        fields, left = self._fields, self._most
        counts = dict.fromkeys(fields, 0)
        for number, wire_type, where, stop in fields_of(raw, start, end):
            left -= 1
            if left < 0:
                _refuse(path or "request", f"has more than the {self._most:,} fields that are allowed")
            field = fields.get(number)
            if field is None:
                continue
            if field.most is not None:
                counts[number] += _entries(raw, where, stop) if field.packed and wire_type == LENGTH else 1
                if counts[number] > field.most:
                    _refuse(_at(path, field.name), f"has more than the {field.most:,} entries that are allowed")
            if wire_type != LENGTH:
                continue
            if field.most_bytes is not None and stop - where > field.most_bytes:
                raise TooLarge(_at(path, field.name), stop - where, field.most_bytes)
            if field.inside is not None:
                at = _at(path, field.name)
                at = at if field.most is None else f"{at}[{counts[number] - 1}]"
                field.inside._check(raw, where, stop, at, depth + 1)


def _at(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _refuse(field: str, description: str) -> NoReturn:
    raise InvalidFields([Violation(field, description)])


def _entries(raw: bytes, start: int, end: int) -> int:
    """How many varints the bytes hold."""
    return len(raw[start:end].translate(None, _CONTINUED))


@cache
def bounds(descriptor: Descriptor) -> Bounds:
    """The bounds of a public message. A field in which the server sees bytes (wire.py) is not looked into."""
    return Bounds(descriptor)


def _bound(field: FieldDescriptor, around: Bounds) -> _Field | None:
    """`around`: those of the message that has the field, which may stand in itself."""
    most, most_bytes = ENTRIES.get(field.full_name), BYTES.get(field.full_name)
    inside = None
    if field.message_type is not None and most_bytes is None and not wire.opaque(field):
        of, inside_of = field.message_type, field.containing_type
        stands_in_itself = inside_of is not None and of.full_name == inside_of.full_name
        inside = around if stands_in_itself else bounds(of) or None
    if most is None and most_bytes is None and inside is None:
        return None
    return _Field(field.name, most, most_bytes, field.type == FieldDescriptor.TYPE_ENUM, inside)
