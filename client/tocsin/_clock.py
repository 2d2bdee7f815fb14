"""`clock` of both clients, over the calls of ClockService; see `_calls`."""

from __future__ import annotations

from datetime import datetime, timedelta

from tocsin._calls import PreparedCall
from tocsin._connection import Connection
from tocsin._schedules import Invoke
from tocsin._times import Span, put_duration, put_time, span
from tocsin.clock import ClockMove, ClockTime
from tocsin.errors import InvalidArgument
from tocsin.v1 import clock_service_pb2 as pb

_SERVICE = "tocsin.v1.ClockService"
_PATIENCE = timedelta(seconds=60)  # the server stops by itself after 10


def _get() -> PreparedCall[pb.GetClockResponse, ClockTime]:
    return PreparedCall(
        f"/{_SERVICE}/GetClock", pb.GetClockRequest(), pb.GetClockResponse, ClockTime.read, repeatable=True
    )


def _advance(
    days: float, hours: float, minutes: float, seconds: float, to: datetime | None, settle: Span | None
) -> PreparedCall[pb.AdvanceClockResponse, ClockMove]:
    request = pb.AdvanceClockRequest()
    by = span(days * 86_400 + hours * 3_600 + minutes * 60 + seconds, "days")
    if to is None:
        put_duration(request.by, by, "days")
    elif by:
        raise InvalidArgument.of("to", "is given beside a span; give one of them")
    else:
        put_time(request.to, to, "to")
    return _moving(request, settle)


def _advance_to_next(settle: Span | None) -> PreparedCall[pb.AdvanceClockResponse, ClockMove]:
    return _moving(pb.AdvanceClockRequest(to_next_due=True), settle)


def _moving(request: pb.AdvanceClockRequest, settle: Span | None) -> PreparedCall[pb.AdvanceClockResponse, ClockMove]:
    if settle is not None:
        put_duration(request.settle, settle, "settle")
    return PreparedCall(
        f"/{_SERVICE}/AdvanceClock", request, pb.AdvanceClockResponse, ClockMove.read, patience=_PATIENCE
    )


class AsyncMovableClock:
    """`AsyncClient.clock`: the store's clock, which tests move by hand."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def get(self, *, deadline: Span | None = None) -> ClockTime:
        """What time it is for the store, and when something is due next."""
        return await self._connection.invoke(_get(), deadline)

    async def advance(
        self,
        *,
        days: float = 0,
        hours: float = 0,
        minutes: float = 0,
        seconds: float = 0,
        to: datetime | None = None,
        settle: Span | None = None,
        deadline: Span | None = None,
    ) -> ClockMove:
        """Move the clock by a span, or to an aware datetime: from due time to due time, waiting each time until what
        became due has run. What somebody is to run, and does not get on, is waited for `settle`, 1 s by default.
        `ClockMove.ran` has each attempt that ended. Raises FailedPrecondition on a store of real time."""
        call = _advance(days, hours, minutes, seconds, to, settle)
        return await self._connection.invoke(call, deadline)

    async def advance_to_next(self, *, settle: Span | None = None, deadline: Span | None = None) -> ClockMove:
        """Move the clock to what is due next, and no further. Raises FailedPrecondition on a store of real time."""
        return await self._connection.invoke(_advance_to_next(settle), deadline)


class MovableClock:
    """`Client.clock`: the store's clock, which tests move by hand."""

    def __init__(self, invoke: Invoke) -> None:
        self._invoke = invoke

    def get(self, *, deadline: Span | None = None) -> ClockTime:
        """What time it is for the store, and when something is due next."""
        return self._invoke(_get(), deadline)

    def advance(
        self,
        *,
        days: float = 0,
        hours: float = 0,
        minutes: float = 0,
        seconds: float = 0,
        to: datetime | None = None,
        settle: Span | None = None,
        deadline: Span | None = None,
    ) -> ClockMove:
        """Move the clock by a span, or to an aware datetime: from due time to due time, waiting each time until what
        became due has run. What somebody is to run, and does not get on, is waited for `settle`, 1 s by default.
        `ClockMove.ran` has each attempt that ended. Raises FailedPrecondition on a store of real time."""
        call = _advance(days, hours, minutes, seconds, to, settle)
        return self._invoke(call, deadline)

    def advance_to_next(self, *, settle: Span | None = None, deadline: Span | None = None) -> ClockMove:
        """Move the clock to what is due next, and no further. Raises FailedPrecondition on a store of real time."""
        return self._invoke(_advance_to_next(settle), deadline)
