"""Timestamps and durations of protos, to the millisecond; finer ones round up, so that nothing starts early."""

from __future__ import annotations

from datetime import datetime, timedelta

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from tocsin_server.domain.times import EPOCH, span_of, time_of

_DAY_SECONDS = 86_400


def to_time(value: Timestamp) -> datetime:
    """The time; past the last millisecond of 9999 it is that one, before 1970 the first of that year: what is refused
    for its time is read all the same, to say what else is wrong."""
    return time_of(value.seconds, value.nanos)


def to_span(value: Duration) -> timedelta:
    """The duration."""
    return span_of(value.seconds, value.nanos)


def set_time(target: Timestamp, value: datetime) -> None:
    """Write a time into the field `target`."""
    since = value - EPOCH
    target.seconds = since.days * _DAY_SECONDS + since.seconds
    if since.microseconds:
        target.nanos = since.microseconds * 1000


def set_span(target: Duration, value: timedelta) -> None:
    """Write a duration that is not negative into the field `target`; a zero one is present too."""
    target.SetInParent()
    target.seconds = value.days * _DAY_SECONDS + value.seconds
    if value.microseconds:
        target.nanos = value.microseconds * 1000
