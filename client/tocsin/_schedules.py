"""`schedules` of both clients: a line a method over `_schedule_calls`."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol, TypeVar, Unpack

from google.protobuf.message import Message

from tocsin import _schedule_calls
from tocsin._calls import PreparedCall
from tocsin._connection import Connection
from tocsin._times import Span
from tocsin.schedules import Occurrence, TimingOptions

Answer = TypeVar("Answer", bound=Message)
Result = TypeVar("Result")


class Invoke(Protocol):
    """Makes a call, and waits for its result."""

    def __call__(self, call: PreparedCall[Answer, Result], deadline: Span | None, /) -> Result: ...


class AsyncSchedules:
    """`AsyncClient.schedules`: recurring schedules."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def preview(
        self,
        count: int = 10,
        *,
        after: datetime | None = None,
        deadline: Span | None = None,
        **timing: Unpack[TimingOptions],
    ) -> list[Occurrence]:
        """The next times of a schedule, up to 1,000, from now or after an aware datetime on: with what clock changes,
        calendars and jitter do to each. What a calendar takes out is among them (`skipped`). Changes nothing. Raises
        InvalidArgument."""
        return await self._connection.invoke(_schedule_calls.preview(count, after, timing), deadline)


class Schedules:
    """`Client.schedules`: recurring schedules."""

    def __init__(self, invoke: Invoke) -> None:
        self._invoke = invoke

    def preview(
        self,
        count: int = 10,
        *,
        after: datetime | None = None,
        deadline: Span | None = None,
        **timing: Unpack[TimingOptions],
    ) -> list[Occurrence]:
        """The next times of a schedule, up to 1,000, from now or after an aware datetime on: with what clock changes,
        calendars and jitter do to each. What a calendar takes out is among them (`skipped`). Changes nothing. Raises
        InvalidArgument."""
        return self._invoke(_schedule_calls.preview(count, after, timing), deadline)
