"""Times and spans of time, between Python and the wire."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TypeAlias

from google.protobuf import duration_pb2, timestamp_pb2
from google.protobuf.message import Message

from tocsin.errors import InvalidArgument, WrongType

#: A span of time: seconds, or a timedelta.
Span: TypeAlias = float | timedelta

_MICROSECOND = timedelta(microseconds=1)


def span(value: Span, field: str) -> timedelta:
    """A span as a timedelta. Raises InvalidArgument for one that is not finite, WrongType for what is no span."""
    if isinstance(value, timedelta):
        return value
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise WrongType.of(field, f"is seconds or a timedelta, not of type {type(value).__name__}")
    try:
        return timedelta(seconds=value)
    except (OverflowError, ValueError):
        raise InvalidArgument.of(field, f"is {value} seconds, which is no span of time") from None


def put_duration(message: duration_pb2.Duration, value: Span, field: str) -> None:
    """Set a Duration that stands in another message."""
    message.SetInParent()  # also where it is 0
    message.FromTimedelta(span(value, field))


def put_time(message: timestamp_pb2.Timestamp, value: datetime, field: str) -> None:
    """Set a Timestamp that stands in another message. Raises InvalidArgument for a time without a zone."""
    if not isinstance(value, datetime):
        raise WrongType.of(field, f"is a datetime, not of type {type(value).__name__}")
    if value.utcoffset() is None:
        raise InvalidArgument.of(
            field, "is a time without a zone; give it one, e.g. datetime(..., tzinfo=UTC) or .astimezone()"
        )
    microseconds = (value - _EPOCH) // _MICROSECOND
    message.SetInParent()
    message.seconds, rest = divmod(microseconds, 1_000_000)
    message.nanos = rest * 1000


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def read_time(message: timestamp_pb2.Timestamp) -> datetime:
    """The time, in UTC, to the microsecond."""
    return _EPOCH + timedelta(seconds=message.seconds, microseconds=message.nanos // 1000)


def read_duration(message: duration_pb2.Duration) -> timedelta:
    """The span, to the microsecond."""
    return timedelta(seconds=message.seconds, microseconds=int(message.nanos / 1000))


def time_in(message: Message, field: str) -> datetime | None:
    """The time in a field of `message`, None where it is absent."""
    if not message.HasField(field):
        return None
    value: timestamp_pb2.Timestamp = getattr(message, field)
    return read_time(value)


def span_in(message: Message, field: str) -> timedelta | None:
    """The span in a field of `message`, None where it is absent."""
    if not message.HasField(field):
        return None
    value: duration_pb2.Duration = getattr(message, field)
    return read_duration(value)
