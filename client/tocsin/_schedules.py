"""`schedules` of both clients: a line a method over `_schedule_calls`."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol, TypeVar, Unpack

from google.protobuf.message import Message

from tocsin import _schedule_calls
from tocsin._calls import PreparedCall
from tocsin._connection import Connection
from tocsin._times import Span
from tocsin.schedules import Backfill, KeptOptions, Occurrence, Schedule, TimingOptions

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
        calendars and jitter do to each. What a calendar takes out is among them (`skipped`). Of a kept one where
        nothing but `schedule_id` (and `queue`) is given. Changes nothing. Raises InvalidArgument, NotFound."""
        return await self._connection.invoke(_schedule_calls.preview(count, after, timing), deadline)

    async def create(
        self, schedule_id: str, /, *, deadline: Span | None = None, **options: Unpack[KeptOptions]
    ) -> Schedule:
        """Make a schedule: when it runs, and what (`type`, `payload`, ...). Its first run is its first time after now.
        Raises AlreadyExists where the id stands in its queue, InvalidArgument."""
        return await self._connection.invoke(_schedule_calls.create(schedule_id, options), deadline)

    async def get(self, schedule_id: str, queue: str = "", *, deadline: Span | None = None) -> Schedule:
        """One schedule, with its next times and counts. Raises NotFound."""
        return await self._connection.invoke(_schedule_calls.get(schedule_id, queue), deadline)

    async def list(self, queue: str = "", *, deadline: Span | None = None) -> list[Schedule]:
        """All schedules of a queue by id. `deadline` is that of each page."""
        found: list[Schedule] = []
        token = ""
        while True:
            page, token = await self._connection.invoke(_schedule_calls.list_page(queue, token), deadline)
            found += page
            if not token:
                return found

    async def update(
        self, schedule_id: str, /, *, revision: int = 0, deadline: Span | None = None, **options: Unpack[KeptOptions]
    ) -> Schedule:
        """Change what is given, and leave the rest. The rule is one thing (cron with its zone, or every with its
        anchor), and so is the job. Nothing runs at once by that. Raises NotFound; Aborted where a revision is given and
        another one stands."""
        return await self._connection.invoke(_schedule_calls.update(schedule_id, revision, options), deadline)

    async def delete(self, schedule_id: str, queue: str = "", *, deadline: Span | None = None) -> None:
        """Delete a schedule; its jobs stay. Raises NotFound."""
        await self._connection.invoke(_schedule_calls.delete(schedule_id, queue), deadline)

    async def pause(
        self, schedule_id: str, queue: str = "", *, reason: str = "", deadline: Span | None = None
    ) -> Schedule:
        """Let a schedule rest; times meanwhile are not missed. Raises NotFound."""
        return await self._connection.invoke(_schedule_calls.pause(schedule_id, queue, reason), deadline)

    async def resume(self, schedule_id: str, queue: str = "", *, deadline: Span | None = None) -> Schedule:
        """Let it go on, with its first time after now. Raises NotFound."""
        return await self._connection.invoke(_schedule_calls.resume(schedule_id, queue), deadline)

    async def trigger(self, schedule_id: str, queue: str = "", *, deadline: Span | None = None) -> str:
        """Run it now, once; the id of the job. Raises NotFound."""
        return await self._connection.invoke(_schedule_calls.trigger(schedule_id, queue), deadline)

    async def backfill(
        self,
        schedule_id: str,
        start: datetime,
        end: datetime,
        queue: str = "",
        *,
        dry_run: bool = False,
        deadline: Span | None = None,
    ) -> Backfill:
        """Make jobs of its times that have passed, from an aware datetime on and before another: at most 1,000, none
        twice. With `dry_run` only say which. Raises NotFound, InvalidArgument; ResourceExhausted where the queue has no
        room, and then what was made stays."""
        return await self._connection.invoke(
            _schedule_calls.backfill(schedule_id, start, end, queue, dry_run), deadline
        )


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
        calendars and jitter do to each. What a calendar takes out is among them (`skipped`). Of a kept one where
        nothing but `schedule_id` (and `queue`) is given. Changes nothing. Raises InvalidArgument, NotFound."""
        return self._invoke(_schedule_calls.preview(count, after, timing), deadline)

    def create(self, schedule_id: str, /, *, deadline: Span | None = None, **options: Unpack[KeptOptions]) -> Schedule:
        """Make a schedule: when it runs, and what (`type`, `payload`, ...). Its first run is its first time after now.
        Raises AlreadyExists where the id stands in its queue, InvalidArgument."""
        return self._invoke(_schedule_calls.create(schedule_id, options), deadline)

    def get(self, schedule_id: str, queue: str = "", *, deadline: Span | None = None) -> Schedule:
        """One schedule, with its next times and counts. Raises NotFound."""
        return self._invoke(_schedule_calls.get(schedule_id, queue), deadline)

    def list(self, queue: str = "", *, deadline: Span | None = None) -> list[Schedule]:
        """All schedules of a queue by id. `deadline` is that of each page."""
        found: list[Schedule] = []
        token = ""
        while True:
            page, token = self._invoke(_schedule_calls.list_page(queue, token), deadline)
            found += page
            if not token:
                return found

    def update(
        self, schedule_id: str, /, *, revision: int = 0, deadline: Span | None = None, **options: Unpack[KeptOptions]
    ) -> Schedule:
        """Change what is given, and leave the rest. The rule is one thing (cron with its zone, or every with its
        anchor), and so is the job. Nothing runs at once by that. Raises NotFound; Aborted where a revision is given and
        another one stands."""
        return self._invoke(_schedule_calls.update(schedule_id, revision, options), deadline)

    def delete(self, schedule_id: str, queue: str = "", *, deadline: Span | None = None) -> None:
        """Delete a schedule; its jobs stay. Raises NotFound."""
        self._invoke(_schedule_calls.delete(schedule_id, queue), deadline)

    def pause(self, schedule_id: str, queue: str = "", *, reason: str = "", deadline: Span | None = None) -> Schedule:
        """Let a schedule rest; times meanwhile are not missed. Raises NotFound."""
        return self._invoke(_schedule_calls.pause(schedule_id, queue, reason), deadline)

    def resume(self, schedule_id: str, queue: str = "", *, deadline: Span | None = None) -> Schedule:
        """Let it go on, with its first time after now. Raises NotFound."""
        return self._invoke(_schedule_calls.resume(schedule_id, queue), deadline)

    def trigger(self, schedule_id: str, queue: str = "", *, deadline: Span | None = None) -> str:
        """Run it now, once; the id of the job. Raises NotFound."""
        return self._invoke(_schedule_calls.trigger(schedule_id, queue), deadline)

    def backfill(
        self,
        schedule_id: str,
        start: datetime,
        end: datetime,
        queue: str = "",
        *,
        dry_run: bool = False,
        deadline: Span | None = None,
    ) -> Backfill:
        """Make jobs of its times that have passed, from an aware datetime on and before another: at most 1,000, none
        twice. With `dry_run` only say which. Raises NotFound, InvalidArgument; ResourceExhausted where the queue has no
        room, and then what was made stays."""
        return self._invoke(_schedule_calls.backfill(schedule_id, start, end, queue, dry_run), deadline)
