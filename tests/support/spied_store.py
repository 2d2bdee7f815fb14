"""A real store whose calls are counted, and whose answers and messages can be lost on the way."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, cast

from tocsin_server.domain.errors import OutcomeUnknown, StoreAway
from tocsin_server.domain.job import Draft, Job
from tocsin_server.store.interface import JobStore, Wake
from tocsin_server.store.schedule_store import ScheduleStore


class SpiedStore:
    """Passes every call on to the store it is given. `as_store` is what the code under test gets."""

    def __init__(self, store: JobStore) -> None:
        self._store = store
        self.calls: Counter[str] = Counter()
        self.arguments: dict[str, list[Any]] = {}
        self.deaf = False  # its messages are lost
        self.away: set[str] = set()  # these calls are not sent
        self.lose: Counter[str] = Counter()  # so many answers of a call are lost; it has acted
        self.break_with: dict[str, Exception] = {}
        self.gates: dict[str, asyncio.Event] = {}  # the answers of a call come once this is set
        self.silent: dict[str, asyncio.Event] = {}  # calls about these queues are not sent, and fail once this is set
        self._asked: Counter[str] = Counter()
        self._called = asyncio.Condition()

    @property
    def as_store(self) -> JobStore:
        return cast(JobStore, self)

    async def wakes(self) -> AsyncIterator[Wake]:
        self.calls["wakes"] += 1
        if error := self.break_with.pop("wakes", None):
            raise error
        async for wake in self._store.wakes():
            if not self.deaf:
                yield wake

    async def until_called(self, name: str, times: int) -> None:
        """Return once so many calls more than now have been answered."""
        wanted = self.calls[name] + times
        async with self._called:
            await self._called.wait_for(lambda: self.calls[name] >= wanted)

    async def until_asked(self, name: str, times: int) -> None:
        """Return once so many calls more than now have begun."""
        wanted = self._asked[name] + times
        async with self._called:
            await self._called.wait_for(lambda: self._asked[name] >= wanted)

    @property
    def schedules(self) -> ScheduleStore:
        """Its calls are counted among the others."""
        return cast(ScheduleStore, _Schedules(self, self._store.schedules))

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._store, name)
        return self.spied(name, method) if callable(method) else method

    def spied(self, name: str, method: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        """The call, counted, and lost where the test says so."""

        async def call(*args: Any, **kwargs: Any) -> Any:
            self.arguments.setdefault(name, []).append((args, kwargs))
            self._asked[name] += 1
            async with self._called:
                self._called.notify_all()
            try:
                if silent := self.silent.get(_queue_of(args)):
                    await silent.wait()
                    raise StoreAway("hung by the test")
                if name in self.away:
                    raise StoreAway("pulled out by the test")
                if name in self.break_with:
                    raise self.break_with[name]
                answer = await method(*args, **kwargs)
                if name in self.gates:
                    await self.gates[name].wait()
                if self.lose[name] > 0:
                    self.lose[name] -= 1
                    raise OutcomeUnknown("lost by the test")
                return answer
            finally:
                self.calls[name] += 1
                async with self._called:
                    self._called.notify_all()

        return call


class _Schedules:
    """The store of schedules, likewise."""

    def __init__(self, spy: SpiedStore, schedules: ScheduleStore) -> None:
        self._spy = spy
        self._schedules = schedules

    def __getattr__(self, name: str) -> Any:
        return self._spy.spied(name, getattr(self._schedules, name))


def _queue_of(args: tuple[Any, ...]) -> str:
    """The queue that a call is about, of drafts and jobs that of the first."""
    first = args[0] if args else ""
    if isinstance(first, list) and first and isinstance(first[0], (Draft, Job)):
        return first[0].spec.queue
    return first if isinstance(first, str) else ""
