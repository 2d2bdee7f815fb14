"""What the store's chores have in common: they hear what queues say of themselves, and act in bounded steps."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from datetime import datetime
from types import MappingProxyType

from tocsin_server.domain.queues import Tick


class Chore(ABC):
    """Something that has to be done in the store now and then, in bounded steps."""

    name: str
    #: Whether it rests after a step for as long as that took, so that it uses at most half of the store's time.
    rests = True

    #: What it found wrong and mended, if that is its business.
    mended: Mapping[str, int] = MappingProxyType({})

    @abstractmethod
    def hear(self, ticks: Mapping[str, Tick]) -> None:
        """Take note of what queues say. Does not block."""

    def keep(self, queues: Collection[str]) -> None:  # noqa: B027 - most remember no queue for long
        """All queues that are there: drop what is known of others. Does not block."""

    def next_time(self) -> datetime | None:
        """When it wants to step though no tick comes before; None: it does not. Does not block."""
        return None

    @abstractmethod
    async def step(self) -> bool:
        """Do a bounded piece of what is to be done; whether more is. Any server may do the same at the same time."""


class QueueChore(Chore):
    """A chore that is done queue by queue, in the order in which it was noticed that there is something to do."""

    #: Whether it need not wait for a tick where a message of the store tells of something to do.
    hears_messages = False

    def __init__(self) -> None:
        self._noticed: dict[str, None] = {}

    def notice(self, queue: str) -> None:
        """There is something to do there."""
        self._noticed[queue] = None

    @abstractmethod
    async def do(self, queue: str) -> bool:
        """Do a bounded piece of what is to be done there; whether more is."""

    async def step(self) -> bool:
        if not self._noticed:
            return False
        queue = next(iter(self._noticed))
        del self._noticed[queue]
        if await self.do(queue):
            self.notice(queue)
        return bool(self._noticed)
