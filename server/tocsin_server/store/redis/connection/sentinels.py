"""Who is the primary, by the word of the sentinels: heard when it changes, and asked each second beside.

A failover that somebody asked for leaves the old primary alive and writable for some ten seconds, and then makes it
forget what it took meanwhile. So working connections are no sign that they lead to the right server. While a sentinel
is about to promote a replica no write is sent, and once another primary is named all connections to the old one are
cut: what is acknowledged after that stands on the new one.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import structlog
from redis.asyncio import Redis
from redis.asyncio.sentinel import MasterNotFoundError
from redis.exceptions import RedisError

_log: structlog.typing.FilteringBoundLogger = structlog.get_logger("tocsin.store")

#: What sentinels announce on the way to another primary; each message makes the one that sent it be asked.
_EVENTS = ("*failover*", "+switch-master", "+promoted-slave", "+selected-slave", "+config-update-from")
_ASK_EVERY = 1.0  # seconds, in case a message was lost
_WHILE_CHANGING = 0.1
_SILENCE = 2.5  # seconds without a message after which a subscription is asked whether it still stands
_PAUSE = 0.5  # seconds before a sentinel that failed is tried again

Address = tuple[str, int]


@dataclass(frozen=True, slots=True)
class _Word:
    """What one sentinel says. The higher `epoch` is the newer word, whoever says it."""

    address: Address
    epoch: int
    changing: bool  # it is about to promote a replica, and has not yet
    down: bool


class Sentinels:
    """Follows the primary from the first question until `close`. `changed` is called when another one is named."""

    def __init__(self, sentinels: Sequence[Redis], service: str, *, within: float, changed: Callable[[], None]) -> None:
        self._sentinels = sentinels
        self._service = service
        self._within = within
        self._changed = changed
        self._words: dict[int, _Word] = {}
        self._ask_now = [asyncio.Event() for _ in sentinels]
        self._told = asyncio.Event()
        self._settled = asyncio.Event()
        self._settled.set()
        self._tasks: list[asyncio.Task[None]] = []
        self.address: Address | None = None
        self._epoch = 0

    async def primary(self) -> Address:
        """Where the primary is, as of the last second. MasterNotFoundError: no sentinel knows one that is up."""
        if not self._tasks:
            for at in range(len(self._sentinels)):
                self._tasks += [asyncio.create_task(self._keep_asking(at)), asyncio.create_task(self._hear(at))]
        if not self._told.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._within):
                    await self._told.wait()
            self._told.set()
        words = self._newest()
        if self.address is None or (words and all(word.down for word in words)):
            self.look()
            raise MasterNotFoundError("no sentinel knows a primary that is up")
        return self.address

    @property
    def settled(self) -> bool:
        """Whether writes may be sent: no sentinel is about to promote another server."""
        return self._settled.is_set()

    async def until_settled(self) -> None:
        """Return when it is so."""
        await self._settled.wait()

    def look(self) -> None:
        """Ask all of them now: something was refused that a primary would not refuse."""
        for ask in self._ask_now:
            ask.set()

    async def close(self) -> None:
        """Ask no more, and close the connections."""
        while running := [task for task in self._tasks if not task.done()]:
            for task in running:
                task.cancel()  # more than once: on Python 3.11 a time-out inside redis-py can swallow a cancel
            await asyncio.wait(running, timeout=0.05)
        for sentinel in self._sentinels:
            await sentinel.aclose()

    async def _keep_asking(self, at: int) -> None:
        while True:
            self._ask_now[at].clear()
            try:
                self._words[at] = await self._ask(self._sentinels[at])
            except (RedisError, OSError):
                self._words.pop(at, None)
            self._decide()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_ASK_EVERY if self.settled else _WHILE_CHANGING):
                    await self._ask_now[at].wait()

    async def _ask(self, sentinel: Redis) -> _Word:
        # In this order: between the two only the address can have become newer.
        ask: Any = sentinel.execute_command  # redis-py left it untyped
        state = await ask("SENTINEL MASTER", self._service)
        told = await ask("SENTINEL GET-MASTER-ADDR-BY-NAME", self._service)
        if told is None:
            raise MasterNotFoundError("this sentinel does not know the service")
        host, port = told
        address = (host.decode() if isinstance(host, bytes) else str(host), int(port))
        promoted = address != (state["ip"], int(state["port"]))
        return _Word(
            address,
            int(state["config-epoch"]),
            changing="failover_in_progress" in str(state["flags"]) and not promoted,
            down=(state["is_sdown"] or state["is_odown"]) and not promoted,
        )

    def _newest(self) -> list[_Word]:
        newest = max((word.epoch for word in self._words.values()), default=0)
        return [word for word in self._words.values() if word.epoch == newest]

    def _decide(self) -> None:
        """Believe the newest word; one older than what was believed before only where most of them say so."""
        words = self._newest()
        if not words or (words[0].epoch < self._epoch and 2 * len(words) <= len(self._sentinels)):
            self._settled.set()  # nobody is left who would say when it is over
            return
        before, self.address, self._epoch = self.address, words[0].address, words[0].epoch
        if 2 * len(self._words) > len(self._sentinels):
            self._told.set()
        if before is not None and before != self.address:
            _log.warning("store_primary_changed", primary="{}:{}".format(*self.address))
            self._changed()
        if any(word.changing for word in words):
            self._settled.clear()
        else:
            self._settled.set()

    async def _hear(self, at: int) -> None:
        """Have it asked at each message. Without a subscription (a user who may not) it is asked each second."""
        while True:
            with contextlib.suppress(RedisError, OSError):
                async with self._sentinels[at].pubsub() as pubsub:
                    await pubsub.psubscribe(*_EVENTS)
                    pinged = False
                    while True:
                        if await pubsub.get_message(timeout=_SILENCE) is not None:
                            self._ask_now[at].set()
                            pinged = False
                        elif pinged:
                            break  # not even a PONG
                        else:
                            await pubsub.ping()
                            pinged = True
            await asyncio.sleep(_PAUSE)
