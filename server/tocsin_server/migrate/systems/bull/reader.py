"""All queues under a prefix, opened and read one after the other."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Protocol

from tocsin_server.domain.errors import StoreAway
from tocsin_server.migrate.systems.bull.discovery import FoundQueue, all_queues, queues_named
from tocsin_server.migrate.systems.bull.names import queue_name, shown
from tocsin_server.migrate.systems.bull.queue import BullQueue
from tocsin_server.migrate.systems.bull.source import BullSource, away
from tocsin_server.migrate.systems.foreign import Choices, Foreign, ForeignQueue, SourceAway, Verdict
from tocsin_server.store.interface import StoreUnfit
from tocsin_server.store.redis.connection.connection import RedisConnection

WORD = "queue"
OF_BULLMQ = "BullMQ wrote this queue: read it with --from bullmq"
OF_BULL = "Bull wrote this queue: read it with --from bull"


class QueueReader(Protocol):
    """Reads one queue."""

    def read(self) -> AsyncIterator[Foreign]:
        """All that stands in it."""
        ...


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[BullSource]:
    """The server of an address. SourceAway."""
    try:
        connection = RedisConnection(url, name="tocsin-migrate")
    except ValueError as error:
        raise SourceAway(f"the source's address cannot be used: {error}") from None
    try:
        try:
            await connection.open()
        except StoreAway as error:
            raise away(error) from error
        except StoreUnfit as error:
            raise SourceAway(f"the source cannot be read: {error}") from error
        yield BullSource(connection)
    finally:
        await connection.close()


@asynccontextmanager
async def open_bull(url: str, choices: Choices, *, prefix: str = "bull") -> AsyncIterator[ForeignQueue]:
    """A reader of the queues of Bull 4 under a prefix. SourceAway where the address leads nowhere."""
    async with connected(url) as source:
        yield QueuesReader(source, choices, prefix, BullQueue, by_bullmq=False)


class QueuesReader:
    """The queues of Bull, or of BullMQ, under a prefix: those that were chosen, else all, by name."""

    def __init__(
        self,
        source: BullSource,
        choices: Choices,
        prefix: str,
        make: Callable[[BullSource, FoundQueue, Choices], QueueReader],
        *,
        by_bullmq: bool,
    ) -> None:
        self._source = source
        self._choices = choices
        self._prefix = prefix.encode(errors="replace")
        self._make = make
        self._by_bullmq = by_bullmq
        self._found: dict[bytes, FoundQueue | None] | None = None

    async def read(self) -> AsyncIterator[Foreign]:
        """See ForeignQueue."""
        for name, queue in (await self._queues()).items():
            if queue is None:
                yield _about(name, Verdict.REFUSED, f"there is no such queue under the prefix {shown(self._prefix)!r}")
            elif queue.by_bullmq != self._by_bullmq:
                yield _about(name, Verdict.LEFT, OF_BULLMQ if queue.by_bullmq else OF_BULL)
            else:
                async for foreign in self._make(self._source, queue, self._choices).read():
                    yield foreign

    @property
    def origin(self) -> str:
        """See ForeignQueue."""
        return f"{'bullmq' if self._by_bullmq else 'bull'} {self._prefix!r}"

    async def paused(self) -> tuple[str, ...]:
        """See ForeignQueue."""
        ours = [q for q in (await self._queues()).values() if q is not None and q.by_bullmq == self._by_bullmq]
        if self._by_bullmq:
            answers = await self._source.ask([("HEXISTS", queue.root + b"meta", "paused") for queue in ours])
        else:
            answers = await self._source.ask([("EXISTS", queue.root + b"meta-paused") for queue in ours])
        return tuple(queue_name(queue.name) for queue, paused in zip(ours, answers, strict=True) if paused == 1)

    async def _queues(self) -> dict[bytes, FoundQueue | None]:
        if self._found is None:
            if self._choices.queues:
                chosen = list(dict.fromkeys(name.encode(errors="replace") for name in self._choices.queues))
                self._found = dict(zip(chosen, await queues_named(self._source, self._prefix, chosen), strict=True))
            else:
                self._found = {queue.name: queue for queue in await all_queues(self._source, self._prefix)}
            if not self._found:
                raise SourceAway(
                    f"the source has no queue under the prefix {shown(self._prefix)!r}: is it another prefix, or "
                    "another database of that Redis?"
                )
        return self._found


def _about(name: bytes, verdict: Verdict, why: str) -> Foreign:
    return Foreign(shown(name), shown(name), WORD, verdict, (why,))
