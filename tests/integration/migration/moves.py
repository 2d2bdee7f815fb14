"""A move of one queue, as tests call it, and stores in which something comes in between."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import cast

from tocsin_server.migrate.move.moving import Moved, move_queue
from tocsin_server.migrate.stores import Side
from tocsin_server.store.interface import JobStore

Two = tuple[Side, Side]


async def moved(places: Two, queue: str = "q", *, patience: timedelta = timedelta(0)) -> Moved:
    source, target = places
    return await move_queue(source, target, queue, patience=patience, check=True, tell=lambda done, total: None)


async def paused(store: JobStore, queue: str = "q") -> bool:
    [settings] = await store.settings([queue])
    return settings.paused


def hooked(store: JobStore, before: Callable[[str], Awaitable[None]]) -> JobStore:
    """A store that asks before each of its verbs."""

    class Hooked:
        def __getattr__(self, name: str) -> object:
            if name in ("schedules", "calendars"):
                return getattr(store, name)

            async def call(*arguments: object, **words: object) -> object:
                await before(name)
                return await getattr(store, name)(*arguments, **words)

            return call

    return cast(JobStore, Hooked())
