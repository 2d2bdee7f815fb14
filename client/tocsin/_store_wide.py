"""What both clients have of things that a store keeps beside its queues."""

from __future__ import annotations

from tocsin._calendars import AsyncCalendars, Calendars
from tocsin._calls import Answer, PreparedCall, Result
from tocsin._connection import Connection
from tocsin._shared_limits import AsyncSharedLimits, SharedLimits
from tocsin._times import Span


class AsyncStoreWide:
    """Of `AsyncClient`."""

    _connection: Connection

    @property
    def calendars(self) -> AsyncCalendars:
        """Calendars of days off, which schedules name."""
        return AsyncCalendars(self._connection)

    @property
    def shared_limits(self) -> AsyncSharedLimits:
        """Limits that several queues share."""
        return AsyncSharedLimits(self._connection)


class StoreWide:
    """Of `Client`."""

    def _invoke(self, call: PreparedCall[Answer, Result], deadline: Span | None) -> Result:
        raise NotImplementedError

    @property
    def calendars(self) -> Calendars:
        """Calendars of days off, which schedules name."""
        return Calendars(self._invoke)

    @property
    def shared_limits(self) -> SharedLimits:
        """Limits that several queues share."""
        return SharedLimits(self._invoke)
