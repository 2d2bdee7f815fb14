"""Shared limits over any store's SharedPlaces: the book is changed by compare and swap, all that a process wants of it
at one time by one write."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable, Coroutine, Mapping, Sequence
from datetime import timedelta
from typing import Any, TypeVar

import structlog

from tocsin_server.domain import limits
from tocsin_server.domain.errors import StoreAway, TocsinError
from tocsin_server.domain.lease import Claim
from tocsin_server.domain.quotas import too_many_shared_limits
from tocsin_server.domain.shared_limits import SharedLimit, SharedLimitState
from tocsin_server.domain.times import time_to_ms, to_time
from tocsin_server.store.shared_book import Book, Taken, Word
from tocsin_server.store.shared_limit_store import GRANT_REFUSED, NoGrant, SharedLimitStore, SharedPlaces

_log: structlog.typing.FilteringBoundLogger = structlog.get_logger()

T = TypeVar("T")

_ROUNDS, _LONGEST_PAUSE = 200, 0.02  # of a change that others are faster with; seconds between two
_CLAIM_ROUNDS = 4  # of a claim whose grants are refused: the caller then asks again
_CHECK_EVERY = 900  # milliseconds between two looks of all servers together
_ASKED_AT_ONCE = 20  # queues

#: Changes the book, or only reads it; the store's time in ms beside it. It may be called more than once.
Change = Callable[[Book, int], Any]


class SharedClaims(SharedLimitStore):
    """Of all queues of a store."""

    def __init__(self, places: SharedPlaces) -> None:
        self._places = places
        self._known: set[str] = set()  # queues that have shared limits, as far as they told
        self._wanted: list[tuple[Change, asyncio.Future[Any]]] = []
        self._ended: set[str] = set()  # queues in which attempts have ended since they were asked
        self._tasks: set[asyncio.Task[None]] = set()
        self._changing = False
        self._telling: asyncio.Task[None] | None = None

    # --- limits ---

    async def put_shared_limit(self, limit: SharedLimit) -> SharedLimit:
        def put(book: Book, now: int) -> Any:
            if limit.name not in book.names and len(book.names) >= limits.SHARED_LIMITS:
                return None
            return book.put(limit)

        done = await self._change(put)
        if done is None:
            raise too_many_shared_limits()
        joined, left = done
        await self._join(joined)
        await self._leave(left)
        return limit

    async def delete_shared_limit(self, name: str) -> bool:
        left = await self._change(lambda book, now: book.delete(name))
        await self._leave(left or {})
        return left is not None

    async def shared_limits(self, names: Sequence[str] | None = None) -> list[SharedLimitState]:
        book, _, now = await self._read()
        return book.states(now, names)

    async def limits_of(self, queue: str) -> list[SharedLimitState]:
        book, _, now = await self._read()
        return book.states(now, book.of(queue))

    # --- claims ---

    async def claim(
        self,
        queue: str,
        types: Mapping[str, int],
        limit: int,
        *,
        lease: timedelta,
        request: bytes,
        repeated: bool = False,
        known: bool = False,
    ) -> Claim:
        """As JobStore.claim. known: the queue has said just now that it has shared limits."""

        async def ask(limit: int, granted: Taken | None) -> tuple[Claim, Word | None] | NoGrant:
            return await self._places.claim_granted(
                queue, types, limit, lease=lease, request=request, repeated=repeated, granted=granted
            )

        if known:
            self._known.add(queue)
        for _ in range(_CLAIM_ROUNDS):
            if queue not in self._known:
                answer = await ask(limit, None)
                if not isinstance(answer, NoGrant):
                    return answer[0]
                self._known.add(queue)
            taken: Taken = await self._change(lambda book, now: book.take(queue, limit, now))
            if not taken.member:
                await self._leave({queue: taken.version})
            elif taken.unheard:
                await self._join(dict(taken.unheard))
            elif taken.jobs == 0 and self._telling is not None:
                await asyncio.wait({self._telling})  # what ended here just now gives its places back
            elif taken.jobs == 0 and not repeated:
                return await self._denied(queue, taken)
            else:
                answer = await ask(min(limit, taken.jobs or 1), taken if taken.jobs else Taken(0))
                if not isinstance(answer, NoGrant):
                    return self._claimed(queue, taken, limit, *answer)
                if taken.jobs == 0:
                    return await self._denied(queue, taken)
                if answer is GRANT_REFUSED:
                    await self._refused(queue, taken.version)
        return Claim((), await self._now(), more=True)

    def _claimed(self, queue: str, taken: Taken, limit: int, claim: Claim, word: Word | None) -> Claim:
        if word is not None and taken.jobs:
            number = len(claim.claimed)
            self._later(self._change(lambda book, now: book.used(taken.version, number, word)))
        return claim

    async def _refused(self, queue: str, version: int) -> None:
        floor = (await self._places.tell_running(queue)).floor
        await self._change(lambda book, now: book.refused(version, floor))

    async def _heard(self, queue: str, word: Word, *, joined: int | None = None, up_to: int = 0) -> None:
        await self._change(lambda book, now: book.hear(queue, word, joined=joined, up_to=up_to))

    async def _denied(self, queue: str, taken: Taken) -> Claim:
        at = to_time(taken.at or 0)
        await self._places.tell_running(queue, look_at=at)
        return Claim((), await self._now(), more=False)

    def ended(self, queue: str) -> None:
        """Attempts of the queue have ended: what it has not any more is let go, beside the caller."""
        if queue in self._known:
            self._ended.add(queue)
            if self._telling is None:
                self._telling = self._later(self._tell())

    async def _tell(self) -> None:
        try:
            while self._ended:
                queues, self._ended = sorted(self._ended), set()
                await self._hear(queues)
        finally:
            self._telling = None

    @property
    def knows_some(self) -> bool:
        return bool(self._known)

    async def settle(self) -> bool:
        book, _, now = await self._read()
        self._known |= book.queues.keys()
        if not book.names:
            return False
        if now - book.checked < _CHECK_EVERY:
            return True

        def begin(book: Book, now: int) -> tuple[bool, dict[str, int], dict[str, int]]:
            if now - book.checked < _CHECK_EVERY:
                return False, {}, {}
            book.checked = now
            return True, book.unheard, book.stale(now)

        mine, unheard, stale = await self._change(begin)
        if mine:
            await self._join(unheard)
            for queue, version in stale.items():
                word = await self._places.tell_running(queue, version=version, thorough=True)
                await self._heard(queue, word, up_to=version)
            left = [queue for queue in book.queues if queue not in unheard and queue not in stale]
            await self._hear(left, thorough=True)
        return True

    async def close(self) -> None:
        """Wait for what is under way, a moment."""
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=1.0)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    # --- queues ---

    async def _join(self, queues: Mapping[str, int]) -> None:
        """Let queues know that they have shared limits, and hear how many of their jobs run."""
        for queue, version in queues.items():
            self._known.add(queue)
            word = await self._places.tell_running(queue, version=version, marked=True)
            await self._heard(queue, word, joined=version, up_to=version)

    async def _leave(self, queues: Mapping[str, int]) -> None:
        for queue, version in queues.items():
            word = await self._places.tell_running(queue, version=version, marked=False)
            if word.floor >= version:  # it has joined anew, or the book was put back from a backup
                await self._heard(queue, word)
            self._known.discard(queue)
        if queues:
            await self._places.ring(list(queues))

    async def _hear(self, queues: Sequence[str], *, thorough: bool = False) -> None:
        """Ask queues how many of their jobs run."""
        for start in range(0, len(queues), _ASKED_AT_ONCE):
            part = queues[start : start + _ASKED_AT_ONCE]
            words = await asyncio.gather(*(self._places.tell_running(queue, thorough=thorough) for queue in part))
            heard = tuple(zip(part, words, strict=True))

            def hear(book: Book, now: int, heard: Sequence[tuple[str, Word]] = heard) -> None:
                for queue, word in heard:
                    book.hear(queue, word)

            await self._change(hear)

    # --- the book ---

    async def _read(self) -> tuple[Book, int, int]:
        said, revision, now = await self._places.read_shared()
        return Book(said), revision, time_to_ms(now)

    async def _now(self) -> Any:
        _, _, now = await self._places.read_shared()
        return now

    async def _change(self, change: Change) -> Any:
        """Change the book, with what others of this process want of it at the same time."""
        done: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._wanted.append((change, done))
        if not self._changing:
            self._changing = True
            self._later(self._change_all())
        return await done

    async def _change_all(self) -> None:
        try:
            while self._wanted:
                wanted, self._wanted = self._wanted, []
                try:
                    answers = await self._changed([change for change, _ in wanted])
                except BaseException as error:
                    for _, done in wanted:
                        if not done.done():
                            done.set_exception(error if isinstance(error, Exception) else StoreAway("it is closed"))
                            done.exception()  # whoever wanted it may have left
                    if not isinstance(error, TocsinError):
                        raise
                    continue
                for (_, done), answer in zip(wanted, answers, strict=True):
                    if not done.done():
                        done.set_result(answer)
        finally:
            self._changing = False

    async def _changed(self, changes: Sequence[Change]) -> list[Any]:
        for _ in range(_ROUNDS):
            said, revision, at = await self._places.read_shared()
            now = time_to_ms(at)
            book = Book(said)
            answers = [change(book, now) for change in changes]
            rung = book.rung(now)
            written = book.written()
            if written == (said if said is not None else Book().written()):
                return answers
            if await self._places.swap_shared(written, revision):
                if rung:
                    await self._places.ring(rung)
                return answers
            await asyncio.sleep(random.uniform(0, _LONGEST_PAUSE))  # noqa: S311 - spreads load, guards nothing
        raise StoreAway("others kept changing the shared limits")

    def _later(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[None]:
        task = asyncio.create_task(self._beside(work), name="shared_limits")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _beside(self, work: Coroutine[Any, Any, Any]) -> None:
        with contextlib.suppress(TocsinError):  # the connection has said so; what was to be said is found by `settle`
            await work
