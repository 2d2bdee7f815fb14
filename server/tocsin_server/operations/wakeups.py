"""Hears the store's messages once a process, and tells whoever wants to know."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import ParamSpec

import structlog

from tocsin_server.background import Loop
from tocsin_server.operations.retry_pause import retry_pause
from tocsin_server.store.interface import JobStore, Wake

_log: structlog.typing.FilteringBoundLogger = structlog.get_logger()

#: Between attempts to listen again. Meanwhile the ticker makes up for what is not heard.
_LONGEST_PAUSE = timedelta(seconds=1)

_P = ParamSpec("_P")
HearWork = Callable[[str, datetime | None], None]
HearQueue = Callable[[str], None]


class Wakeups:
    """The one listener of a process. Subscribe before `start`; callbacks run on its event loop and must not block."""

    def __init__(self, store: JobStore) -> None:
        self._store = store
        self._work: list[HearWork] = []
        self._cancels: list[HearQueue] = []
        self._settings: list[HearQueue] = []
        self._missed: list[Callable[[], None]] = []
        self._moved: list[Callable[[], None]] = []
        self._errands: list[HearQueue] = []
        self._loop = Loop(self._listen, "wakeups")

    def on_work(self, hear: HearWork) -> None:
        """`hear(queue, due)` where something may be claimed: at `due` by the store's clock, None means now."""
        self._work.append(hear)

    def on_cancel(self, hear: HearQueue) -> None:
        """`hear(queue)` where a running job of the queue was asked to stop."""
        self._cancels.append(hear)

    def on_settings(self, hear: HearQueue) -> None:
        """`hear(queue)` where the queue's settings changed."""
        self._settings.append(hear)

    def on_errands(self, hear: HearQueue) -> None:
        """`hear(queue)` where something is to be done for jobs that wait for others."""
        self._errands.append(hear)

    def on_missed(self, hear: Callable[[], None]) -> None:
        """`hear()` where messages may have been missed: listening has begun, or begun again."""
        self._missed.append(hear)

    def on_moved(self, hear: Callable[[], None]) -> None:
        """`hear()` where the store's clock was moved by hand: whatever waits for a time of the store looks again."""
        self._moved.append(hear)

    def start(self) -> None:
        """Begin to listen."""
        self._loop.start()

    async def close(self) -> None:
        """Listen no more."""
        await self._loop.close()

    async def _listen(self) -> None:
        failures = 0
        while True:
            try:
                async for wake in self._store.wakes():
                    failures = 0
                    self._tell(wake)
            except Exception as error:
                # Whatever it is: a server that hears nothing is slower by a tick, one that stopped listening for ever
                # would stay so.
                _log.warning("wakeups_lost", error=str(error))
            failures += 1
            await asyncio.sleep(retry_pause(failures, _LONGEST_PAUSE))

    def _tell(self, wake: Wake) -> None:
        if wake.missed:
            _call_each(self._missed)
            return
        if wake.moved:
            _call_each(self._moved)
            return
        if wake.errands:
            _call_each(self._errands, wake.queue)
            return
        if wake.settings:
            _call_each(self._settings, wake.queue)
        if wake.cancels:
            _call_each(self._cancels, wake.queue)
        if wake.settings or wake.due is not None or not wake.cancels:
            # New settings may be a queue that was resumed. A cancel makes nothing claimable.
            _call_each(self._work, wake.queue, wake.due)


def _call_each(hearers: Sequence[Callable[_P, None]], *args: _P.args, **kwargs: _P.kwargs) -> None:
    for hear in hearers:
        try:
            hear(*args, **kwargs)
        except Exception:
            _log.exception("wakeup_not_taken")
