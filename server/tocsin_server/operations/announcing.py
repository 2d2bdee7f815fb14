"""Tells the other servers, by the store, who runs jobs here; and knows whom they tell of."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta

import structlog

from tocsin_server.background import Loop
from tocsin_server.domain.errors import TocsinError
from tocsin_server.domain.queues import WorkerFigures
from tocsin_server.operations.store_clock import StoreClock
from tocsin_server.store.interface import JobStore

_log: structlog.typing.FilteringBoundLogger = structlog.get_logger()

#: A change is told within _EVERY, another worker within _SOON; the same word is said again after _RENEW_AFTER, before
#: it ends.
_EVERY, _SOON = timedelta(seconds=5), timedelta(seconds=0.2)
_RENEW_AFTER = timedelta(seconds=9)
_GOOD_FOR = timedelta(seconds=15)
#: Where tests move the clock, a word that is missing would let it go on without the worker: a busy machine's are late.
_GOOD_FOR_TESTS = timedelta(minutes=1)
_TAKE_BACK_WITHIN = timedelta(seconds=1)

#: All words of a server are one record: so many workers, and attempts of all of them, are named in it.
_WORKERS_NAMED, _HELD_NAMED = 1_000, 500


class Announcing:
    """Says who runs jobs here. by: this server's name. words: those who can tell of some, each of its own; a worker
    without a seen_time is connected.

    Where nobody runs any jobs here, the store is asked nothing.
    """

    def __init__(
        self, store: JobStore, clock: StoreClock, by: str, words: Sequence[Callable[[], Sequence[WorkerFigures]]]
    ) -> None:
        self._store = store
        self._clock = clock
        self._by = by
        self._good_for = _GOOD_FOR_TESTS if store.manual_clock else _GOOD_FOR
        self._words = words
        self._wake = asyncio.Event()
        self._said: list[WorkerFigures] = []
        self._renew = 0.0
        self._loop = Loop(self._run, "announce")

    def start(self) -> None:
        """Begin to tell."""
        self._loop.start()

    def changed(self) -> None:
        """Another worker has come: say so soon."""
        self._wake.set()

    async def close(self) -> None:
        """Take back what was said."""
        await self._loop.close()
        if self._said:
            with contextlib.suppress(TocsinError, TimeoutError):
                async with asyncio.timeout(_TAKE_BACK_WITHIN.total_seconds()):
                    await self._store.announce([], self._by, timedelta(0))

    async def workers(self) -> list[WorkerFigures]:
        """All that run jobs, by name: those here as they are now, others as their servers last said. One of whom
        several servers tell is one."""
        here = self._here()
        now = self._clock.now()
        found = {one.worker: replace(one, seen_time=one.seen_time or now, by=self._by) for one in here}
        for one in await self._store.workers():
            if one.by != self._by:
                known = found.get(one.worker)
                found[one.worker] = one if known is None else _joined(known, one)
        return sorted(found.values(), key=lambda one: one.worker)

    def _here(self) -> list[WorkerFigures]:
        return [one for word in self._words for one in word()]

    async def _run(self) -> None:
        while True:
            self._wake.clear()
            await self._announce()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_EVERY.total_seconds()):
                    await self._wake.wait()
            await asyncio.sleep(_SOON.total_seconds())  # others may come in the same moment

    async def _announce(self) -> None:
        words = _bounded(self._here())
        # One that calls again and again is not told of each time: when it was heard of goes along with the rest.
        same = [replace(one, seen_time=None) for one in words]
        if same == self._said and (not words or time.monotonic() < self._renew):
            return
        try:
            await self._store.announce(words, self._by, self._good_for if words else timedelta(0))
            self._said, self._renew = same, time.monotonic() + _RENEW_AFTER.total_seconds()
        except TocsinError as error:
            _log.debug("announce_failed", error=str(error))  # the ticker says aloud that the store is away
        except Exception:
            _log.exception("announce_failed")


def _bounded(words: list[WorkerFigures]) -> list[WorkerFigures]:
    left, bounded = _HELD_NAMED, list[WorkerFigures]()
    for one in words[:_WORKERS_NAMED]:
        held = one.held[:left]
        left -= len(held)
        bounded.append(one if len(held) == len(one.held) else replace(one, held=held))
    return bounded


def _joined(one: WorkerFigures, other: WorkerFigures) -> WorkerFigures:
    """What two servers say of one worker."""
    known = {(held.queue, held.job_id, held.attempt) for held in one.held}
    more = tuple(held for held in other.held if (held.queue, held.job_id, held.attempt) not in known)
    return replace(
        one,
        types=tuple(sorted({*one.types, *other.types})),
        queues=tuple(sorted({*one.queues, *other.queues})) if one.queues and other.queues else (),
        slots=one.slots + other.slots,
        busy=one.busy + other.busy,
        held=one.held + more,
        free=one.free + other.free,
        seen_time=max((seen for seen in (one.seen_time, other.seen_time) if seen is not None), default=None),
        since=min((since for since in (one.since, other.since) if since is not None), default=None),
    )
