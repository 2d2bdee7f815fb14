"""Jobs that are sent on as HTTP requests: those of type http_request, and those of types with a push target."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from datetime import timedelta

from tocsin.worker.context import JobContext
from tocsin.worker.errors import RetryLater
from tocsin.worker.registry import Handler, Handlers
from tocsin.worker.runtime import Runtime
from tocsin.worker.slots import Slots

from tocsin_server.dispatch.push_source import PushSource
from tocsin_server.dispatch.push_targets import PushTargets
from tocsin_server.domain.defaults import PushTarget
from tocsin_server.operations.leasing.leasing import Leasing
from tocsin_server.operations.queues import QueueSettingsCache
from tocsin_server.operations.ticking import Ticker
from tocsin_server.operations.wakeups import Wakeups
from tocsin_server.store.interface import JobStore

#: Sends a job to a push target.
Push = Callable[[JobContext, PushTarget], Awaitable[object]]

_AGAIN = timedelta(seconds=1)  # a job whose target is not known here: it cannot be, but for a fault


class PushHandlers(Handlers):
    """Handlers by type, and one for the jobs of any other: it sends them to where `target_of` says."""

    def __init__(self, own: Handlers, push: Push) -> None:
        super().__init__()
        self.include(own)
        self._push = push
        self.target_of: Callable[[str, str], PushTarget | None] = lambda queue, type_: None

    def get(self, type: str) -> Handler | None:
        """The handler of a type; there always is one."""
        return super().get(type) or Handler(type, self._send, is_async=True)

    async def _send(self, job: JobContext) -> object:
        target = self.target_of(job.queue, job.type)
        if target is None:
            raise RetryLater(_AGAIN, f"type {job.type} of queue {job.queue} has no push target any more")
        return await self._push(job, target)


class Pushing:
    """A runtime with slots of its own, so that a slow target takes none of the handlers', nor they any of its.

    concurrency: requests at once. Subscribes to `wakeups` and `ticker`, so make it before those are started.
    """

    def __init__(
        self,
        store: JobStore,
        leasing: Leasing,
        wakeups: Wakeups,
        ticker: Ticker,
        settings: QueueSettingsCache,
        handlers: PushHandlers,
        *,
        lease: timedelta,
        queues: Collection[str] | None,
        concurrency: int,
        tick: timedelta,
    ) -> None:
        self.types = tuple(handlers)
        slots = Slots(concurrency, handlers.concurrencies())
        self.targets = PushTargets(
            store,
            settings,
            slots,
            wakeups,
            ticker,
            tick=tick,
            queues=queues,
            serve=lambda queue, types: self.source.serve(queue, types),
        )
        handlers.target_of = self.targets.of
        self.source = PushSource(store, leasing, lease, queues=queues, fresh=self.targets.fresh)
        self.runtime = Runtime(self.source, handlers, slots=slots)
