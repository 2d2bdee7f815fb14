"""Orders, and attempts at them."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any, cast

from support.dying_store import Died, DyingStore
from tocsin_server.domain.bulk_actions import DEFAULT_STATES, BulkAct, BulkOrder, BulkVerb
from tocsin_server.domain.filters import JobFilter
from tocsin_server.operations.bulk_actions.changes import moment_of
from tocsin_server.operations.bulk_actions.running import RunBulkActions
from tocsin_server.operations.bulk_actions.state import ActionName, ActionState
from tocsin_server.store.interface import JobStore

BIRTH = datetime(2026, 1, 2, tzinfo=UTC)


async def an_order(
    store: JobStore, verb: BulkVerb, *, queue: str = "q", max_jobs: int | None = None, **words: Any
) -> BulkOrder:
    """An order of this moment. `words` are of JobFilter and of BulkAct."""
    of_filter = {name: words.pop(name) for name in JobFilter.__annotations__ if name in words}
    filter_ = JobFilter(**{"states": DEFAULT_STATES[verb], **of_filter})
    moment = await moment_of(store, queue)
    return BulkOrder(queue, filter_, BulkAct(verb, **words), by="ada", max_jobs=max_jobs, moment=moment)


async def acted(
    store: JobStore,
    order: BulkOrder,
    name: str = "action",
    *,
    step: int = 200,
    stopped: Callable[[], bool] = lambda: False,
) -> ActionState:
    """One attempt at it."""
    action = ActionName("tocsin.bulk", name, BIRTH)
    return await RunBulkActions(store, step=step).run(order, action, lambda state: None, stopped)


class Meddled:
    """A store before whose nth call of a name something else is done; 0: before each."""

    def __init__(self, store: JobStore, name: str, at: int, meddle: Callable[[], Awaitable[object]]) -> None:
        self._store, self._name, self._left, self._meddle = store, name, at, meddle
        self._each = at == 0

    @property
    def as_store(self) -> JobStore:
        return cast(JobStore, self)

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._store, name)
        if name != self._name:
            return method

        async def call(*args: Any, **kwargs: Any) -> Any:
            self._left -= 1
            if self._left == 0 or self._each:
                await self._meddle()
            return await method(*args, **kwargs)

        return call


async def died(store: JobStore, order: BulkOrder, name: str, at: int, *, after: bool, step: int = 3) -> bool:
    """An attempt that dies at its nth call of the store; False where it made fewer."""
    dying = DyingStore(store, at, acted=after)
    with contextlib.suppress(Died):
        await acted(dying.as_store, order, name, step=step)
        return False
    return True
