"""Who waits for a queue's next change hears of it here: few blocking reads for many queues.

One XREAD waits for up to QUEUES_A_READ queues at once, so that watches cost connections by the dozen queues. In a
cluster a command's keys must be of one hash slot, which mostly means of one queue: there MAX_READS is a limit.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tocsin_server.domain.errors import StoreAway, TooManyQueuesWatched
from tocsin_server.store.redis.connection.connection import MAX_BLOCKING_READS

QUEUES_A_READ = 64
#: Blocking reads under way at most. One more may be on its way out while its successor begins.
MAX_READS = MAX_BLOCKING_READS // 2
_COMPANY = 0.002  # seconds between two reads of a group: news and newcomers of that time share the next one
_LINGER = 5.0  # seconds that a queue is read for after the last who waited; its reader is mostly soon back

#: Waits for an entry after those named in any of these queues' streams, for a while; the first new one of each.
BlockingRead = Callable[[Mapping[str, str]], Awaitable[Mapping[str, str]]]


@dataclass(slots=True)
class _Place:
    """How far a queue's stream is known, and who waits for more."""

    last: str
    waiting: set[asyncio.Future[None]] = field(default_factory=set)
    left_at: float = 0.0  # when the last who waited went


class _Group:
    """The queues of one blocking read, which is begun anew as they change."""

    def __init__(self, read: BlockingRead) -> None:
        self._read = read
        self.places: dict[str, _Place] = {}
        self._changed = asyncio.Event()
        self.task = asyncio.create_task(self._run(), name="stream_news")

    def watch(self, queue: str, after: str) -> _Place:
        """The queue's place, read for from now on."""
        if (place := self.places.get(queue)) is None:
            place = self.places[queue] = _Place(after)
            self._changed.set()
        elif _number(place.last) < _number(after):
            place.last = after  # the read under way comes back for what is known by now, and goes on from here
        return place

    def believe(self, place: _Place, after: str) -> bool:
        """Whether there is news after an entry as far as was heard. It is said once: who then finds none, in a store
        that was put back to an earlier state, waits from there."""
        if _number(place.last) <= _number(after):
            return False
        place.last = after
        self._changed.set()
        return True

    async def _run(self) -> None:
        failure: BaseException = StoreAway("the connection was closed")
        try:
            while self.places:
                self._changed.clear()
                for queue, entry in (await self._next({queue: at.last for queue, at in self.places.items()})).items():
                    self._tell(queue, entry)
                await asyncio.sleep(_COMPANY)
                self._forget()
        except Exception as error:
            failure = error
        finally:
            for place in self.places.values():
                for one in place.waiting:
                    if not one.done():
                        one.set_exception(failure)
            self.places.clear()

    async def _next(self, asked: Mapping[str, str]) -> Mapping[str, str]:
        """The read's answer; nothing where a newcomer broke it off."""
        reading = asyncio.ensure_future(self._read(asked))
        changed = asyncio.ensure_future(self._changed.wait())
        try:
            await asyncio.wait({reading, changed}, return_when=asyncio.FIRST_COMPLETED)
            return reading.result() if reading.done() else {}
        finally:
            for task in (reading, changed):
                await _ended(task)

    def _tell(self, queue: str, entry: str) -> None:
        place = self.places[queue]
        if _number(place.last) < _number(entry):
            place.last = entry
            for one in place.waiting:
                if not one.done():
                    one.set_result(None)

    def _forget(self) -> None:
        old = time.monotonic() - _LINGER
        for queue in [queue for queue, at in self.places.items() if not at.waiting and at.left_at < old]:
            del self.places[queue]


class StreamNews:
    """Tells of new entries. `read` is the blocking read of one group; queues of one `slot_of` may share one."""

    def __init__(self, read: BlockingRead, slot_of: Callable[[str], int]) -> None:
        self._read = read
        self._slot_of = slot_of
        self._groups: dict[int, list[_Group]] = {}

    async def wait(self, queue: str, after: str, seconds: float) -> None:
        """Return once an entry after `after` may be there, or so many seconds have passed.

        Raises what the read raises, and TooManyQueuesWatched.
        """
        group = self._group(queue)
        place = group.watch(queue, after)
        place.left_at = time.monotonic()
        if group.believe(place, after):
            return
        news: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        place.waiting.add(news)
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await news
        finally:
            place.waiting.discard(news)
            place.left_at = time.monotonic()
            if news.done() and not news.cancelled():
                news.exception()  # seen

    async def close(self) -> None:
        """End all reads; who still waits gets StoreAway."""
        for group in [group for groups in self._groups.values() for group in groups]:
            await _ended(group.task)

    def _group(self, queue: str) -> _Group:
        slot = self._slot_of(queue)
        groups = self._groups[slot] = [group for group in self._groups.get(slot, ()) if not group.task.done()]
        for group in groups:
            if queue in group.places:
                return group
        for group in groups:
            if len(group.places) < QUEUES_A_READ:
                return group
        if sum(not group.task.done() for groups in self._groups.values() for group in groups) >= MAX_READS:
            raise TooManyQueuesWatched(MAX_READS)
        group = _Group(self._read)
        groups.append(group)
        group.task.add_done_callback(lambda _: self._drop(slot, group))
        return group

    def _drop(self, slot: int, group: _Group) -> None:
        left = [one for one in self._groups.get(slot, ()) if one is not group]
        if left:
            self._groups[slot] = left
        else:
            self._groups.pop(slot, None)


def _number(entry: str) -> tuple[int, int]:
    first, _, second = entry.partition("-")
    return int(first), int(second)


async def _ended(task: asyncio.Future[Any]) -> None:
    """Cancel until it has ended: on Python 3.11 a time-out inside redis-py can swallow a cancel."""
    while not task.done():
        task.cancel()
        await asyncio.wait({task}, timeout=0.05)
    if not task.cancelled():
        task.exception()  # seen
