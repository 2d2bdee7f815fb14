"""Renews leases when the loop that serves calls is too busy to."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Protocol

import structlog

from tocsin_server.domain.errors import TocsinError
from tocsin_server.domain.lease import Extension, Lease
from tocsin_server.store.interface import JobStore

_log: structlog.typing.FilteringBoundLogger = structlog.get_logger()

_CLOSE_WITHIN = 5.0  # seconds


class HeldLease(Protocol):
    """A lease of this process."""

    @property
    def lease(self) -> Lease:
        """What is renewed."""

    renewed: float  # time.monotonic() when it was renewed last


class LeaseKeeper:
    """Looks, on a thread of its own, for leases that heartbeats should have renewed, and renews them over connections
    of its own.

    While heartbeats are in time it asks the store nothing, and has no connection: what it opened is closed again once
    they have been in time for a lease's length. What a renewal tells of cancels and
    lost leases is left to the next heartbeat.

    make_store: another store on the same place, for another loop; opened and closed here. overdue: leases that were
    not renewed for so long; called on this thread.
    """

    def __init__(
        self,
        make_store: Callable[[], JobStore],
        overdue: Callable[[timedelta], Sequence[HeldLease]],
        lease: timedelta,
    ) -> None:
        self._make_store = make_store
        self._overdue = overdue
        self._lease = lease
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closing = threading.Event()
        self._wake: asyncio.Event | None = None
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), name="lease-keeper", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    async def close(self) -> None:
        """Look no more."""
        self._closing.set()
        loop, wake = self._loop, self._wake
        if loop is not None and wake is not None and self._thread.is_alive():
            with contextlib.suppress(RuntimeError):  # it has ended in this moment
                loop.call_soon_threadsafe(wake.set)
        await asyncio.to_thread(self._thread.join, _CLOSE_WITHIN)

    async def _run(self) -> None:
        self._wake, self._loop = asyncio.Event(), asyncio.get_running_loop()
        store: JobStore | None = None
        needed = 0.0  # when it was, last
        try:
            while not self._closing.is_set():
                due = self._overdue(self._lease / 2)
                try:
                    if due:
                        needed = time.monotonic()
                        store = store or await self._opened()
                        await self._renew(store, due)
                    elif store is not None and time.monotonic() - needed > self._lease.total_seconds():
                        unneeded, store = store, None
                        await unneeded.close()
                except Exception as error:  # the store may be away: it is asked again
                    _log.warning("leases_not_kept", leases=len(due), error=type(error).__name__)
                await self._pause(self._lease / 6)
        finally:
            if store is not None:
                await store.close()

    async def _opened(self) -> JobStore:
        store = self._make_store()
        try:
            await store.open()
        except BaseException:
            await store.close()
            raise
        return store

    async def _renew(self, store: JobStore, due: Sequence[HeldLease]) -> None:
        asked = time.monotonic()
        answers = await store.extend([Extension(held.lease) for held in due], self._lease)
        kept = 0
        for held, answer in zip(due, answers, strict=True):
            if not isinstance(answer, TocsinError):
                held.renewed = asked
                kept += 1
        if kept:
            _log.warning("leases_kept", leases=kept, why="the server's loop was too busy to renew them")

    async def _pause(self, span: timedelta) -> None:
        if self._wake is not None:
            try:
                async with asyncio.timeout(span.total_seconds()):
                    await self._wake.wait()
            except TimeoutError:
                pass
