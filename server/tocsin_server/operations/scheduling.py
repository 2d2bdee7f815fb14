"""Scheduling jobs: defaults filled in, concurrent calls gathered into one store call."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from functools import partial
from typing import Any

from tocsin_server.domain.defaults import NOTHING_SAID, SERVER_DEFAULTS, JobDefaults, JobRequest, draft
from tocsin_server.domain.errors import TocsinError
from tocsin_server.domain.job import Added, Draft, Job
from tocsin_server.domain.queues import QueueSettings
from tocsin_server.store.interface import JobStore

Scheduled = tuple[Job, Added] | TocsinError
Entry = tuple[Draft, asyncio.Future[Scheduled]]


class CancelledUnsent(asyncio.CancelledError):
    """The caller was cancelled before its jobs were sent to the store: nothing was changed."""


class Scheduling:
    """Adds jobs to the store.

    Calls of one job are gathered. A lone call is added at once. While a store call is under way, further ones wait for
    it and go together in the next. Since a store call takes less time than the next request needs to arrive, that alone
    gathers little: so where calls come several at a time, a store call also waits for more of them, as long as they
    keep coming (none for as long as `company` ends it) and for three times `company` at most. Where that brought fewer
    than `_WORTH_IT` together three times on end, it is left for a while. Measured: 64 calls in flight are answered at
    about one and a half times the rate; with 8 in flight, where waiting would cost a third, nothing is lost. Calls
    of several jobs have company enough and go by themselves.

    A store call is not cancelled with its callers. What is gathered goes to the store queue by queue, and is waited for
    `_PATIENCE` seconds at most before the next goes: queues may stand on several servers, as in a cluster, and one that
    hangs must not hold up calls about the others.
    """

    _PATIENCE = 0.25

    # Calls count as coming several at a time for so long after two last went together.
    _BUSY = 0.02

    # Waiting that brought fewer calls together than this, so many times on end, is left for so long.
    _WORTH_IT, _TRIES, _LEFT_FOR = 12, 3, 0.5

    def __init__(
        self,
        store: JobStore,
        settings_of: Callable[[str], Awaitable[QueueSettings]],
        *,
        server_defaults: JobDefaults = SERVER_DEFAULTS,
        company: timedelta = timedelta(milliseconds=3),
        flush_jobs: int = 1000,
    ) -> None:
        self._store = store
        self._settings_of = settings_of
        self._server_defaults = server_defaults
        self._company = company.total_seconds()
        self._flush_jobs = flush_jobs
        self._waiting: deque[Entry] = deque()
        self._flusher: asyncio.Task[None] | None = None
        self._busy_until = 0.0
        self._vain, self._no_wait_until = 0, 0.0
        self._under_way: set[asyncio.Task[Any]] = set()
        self._late: Counter[str] = Counter()  # queues whose calls are not waited for

    async def schedule(self, requests: Sequence[JobRequest]) -> list[Scheduled]:
        """Add jobs; what became of each, in the order asked: as `JobStore.add` says.

        Raises what the store raises. CancelledUnsent where the caller is cancelled and nothing was sent for it.
        """
        try:
            drafts = [await self._draft(request) for request in requests]
        except asyncio.CancelledError as error:
            raise CancelledUnsent from error
        if len(drafts) == 1:
            return [await self._gathered(drafts[0])]
        task = asyncio.create_task(self._store.add(drafts))
        self._under_way.add(task)
        task.add_done_callback(self._done)
        return await asyncio.shield(task)

    async def close(self) -> None:
        """Wait until all store calls have ended."""
        while left := [*self._under_way, *([self._flusher] if self._flusher else [])]:
            await asyncio.wait(left)

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._under_way.discard(task)
        if not task.cancelled():
            task.exception()  # has been seen, also where its caller has left

    async def _draft(self, request: JobRequest) -> Draft:
        settings = await self._settings_of(request.queue)
        below = self._server_defaults
        if settings.defaults != NOTHING_SAID:
            below = settings.defaults.over(below)
        if of_type := settings.type_defaults.get(request.type):
            below = of_type.over(below)
        return draft(request, below)

    async def _gathered(self, one: Draft) -> Scheduled:
        future: asyncio.Future[Scheduled] = asyncio.get_running_loop().create_future()
        entry = (one, future)
        self._waiting.append(entry)
        if self._flusher is None:
            self._flusher = asyncio.create_task(self._flush())
        try:
            return await future
        except asyncio.CancelledError as error:
            if entry in self._waiting:
                self._waiting.remove(entry)
                raise CancelledUnsent from error
            raise

    async def _flush(self) -> None:
        """Send what waits until nothing does."""
        loop = asyncio.get_running_loop()
        try:
            while self._waiting:
                several = len(self._waiting) > 1 or loop.time() < self._busy_until
                if several and loop.time() >= self._no_wait_until:
                    await self._company_comes(loop)
                    self._vain = self._vain + 1 if len(self._waiting) < self._WORTH_IT else 0
                    if self._vain >= self._TRIES:
                        self._vain, self._no_wait_until = 0, loop.time() + self._LEFT_FOR
                batch = [self._waiting.popleft() for _ in range(min(len(self._waiting), self._flush_jobs))]
                if not batch:  # all have left meanwhile
                    return
                self._busy_until = loop.time() + self._BUSY if len(batch) > 1 else 0.0
                await self._send_for_a_while(batch)
        finally:
            self._flusher = None

    async def _company_comes(self, loop: asyncio.AbstractEventLoop) -> None:
        latest = loop.time() + 3 * self._company
        seen = 0
        while len(self._waiting) > seen and loop.time() < latest and len(self._waiting) < self._flush_jobs:
            seen = len(self._waiting)
            await asyncio.sleep(self._company)

    async def _send_for_a_while(self, batch: Sequence[Entry]) -> None:
        parts: dict[str, list[Entry]] = {}
        for entry in batch:
            parts.setdefault(entry[0].spec.queue, []).append(entry)
        tasks = {asyncio.create_task(self._send(part)): queue for queue, part in parts.items()}
        waited = {task for task, queue in tasks.items() if queue not in self._late}
        if waited:
            await asyncio.wait(waited, timeout=self._PATIENCE)
        for task, queue in tasks.items():
            if not task.done():
                self._late[queue] += 1
                self._under_way.add(task)
                task.add_done_callback(partial(self._late_ended, queue))

    def _late_ended(self, queue: str, task: asyncio.Task[None]) -> None:
        self._done(task)
        self._late[queue] -= 1
        if not self._late[queue]:
            del self._late[queue]

    async def _send(self, batch: Sequence[Entry]) -> None:
        try:
            answers = await self._store.add([one for one, _ in batch])
            answered = list(zip(batch, answers, strict=True))
        except Exception as error:
            for _, future in batch:
                if not future.done():
                    future.set_exception(error)
            return
        for (_, future), answer in answered:
            if not future.done():
                future.set_result(answer)
