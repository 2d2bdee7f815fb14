"""All that serves workers elsewhere, put together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from tocsin_server.domain.queues import WorkerFigures
from tocsin_server.operations.announcing import Announcing
from tocsin_server.operations.expecting import Expecting
from tocsin_server.operations.leasing.leasing import Leasing
from tocsin_server.operations.queues import QueueSettingsCache
from tocsin_server.operations.store_clock import StoreClock
from tocsin_server.operations.ticking import Ticker
from tocsin_server.operations.wakeups import Wakeups
from tocsin_server.operations.working.admission import Admission
from tocsin_server.operations.working.calls import WorkerCalls
from tocsin_server.operations.working.handing_back import HandingBack
from tocsin_server.operations.working.outcomes import Outcomes
from tocsin_server.operations.working.polling import Polling
from tocsin_server.operations.working.scaling import Scaling
from tocsin_server.operations.working.stream import StreamParts
from tocsin_server.operations.working.streaming import Streaming
from tocsin_server.operations.working.workers import Workers
from tocsin_server.store.interface import JobStore


class Working:
    """Workers' calls, their streams, the word of them, and how many are wanted. Subscribes to `wakeups` and `ticker`,
    so make it before those are started.

    server: this server's name. embedded: who runs jobs in this process. linger: how long a lone outcome waits for
    company while several come at once.
    """

    def __init__(
        self,
        store: JobStore,
        leasing: Leasing,
        settings: QueueSettingsCache,
        wakeups: Wakeups,
        ticker: Ticker,
        clock: StoreClock,
        *,
        server: str,
        embedded: Callable[[], Sequence[WorkerFigures]] = lambda: (),
        silent_since: Callable[[], datetime | None] = lambda: None,
        linger: timedelta = timedelta(milliseconds=3),
    ) -> None:
        self.server = server
        self.clock = clock
        self._handing_back = HandingBack(store, leasing.finishing)
        admission = self._admission = Admission(settings, wakeups, ticker)
        outcomes = Outcomes(leasing.finishing, linger=linger)
        workers = self.workers = Workers(leasing.holdings, clock)
        self.announcing = Announcing(store, clock, server, (embedded, workers.figures))
        workers.appeared = self.announcing.changed
        self.expecting = Expecting(
            store, server, self.announcing.workers, lambda: leasing.claiming or self._handing_back.busy
        )
        polling = Polling(store, leasing, admission, self._handing_back, silent_since)
        self.calls = WorkerCalls(store, polling, outcomes, workers, self._handing_back)
        self.streaming = Streaming(
            StreamParts(store, leasing, outcomes, admission, self._handing_back),
            opened=workers.opened,
            closed=workers.closed,
        )
        self.scaling = Scaling(store, wakeups, ticker)
        admission.changed = self._admitted
        self._polling = polling

    def start(self) -> None:
        """Begin to tell other servers of who works here."""
        self.announcing.start()

    def drain(self) -> None:
        """Give no more jobs. Streams stay, for outcomes and heartbeats."""
        self.calls.drain()
        self.scaling.drain()
        self.streaming.drain()

    async def end(self, within: timedelta) -> None:
        """Let streams end by themselves, then end those that are left."""
        self.drain()
        await self.streaming.end(within)

    async def close(self) -> None:
        """Take back the word of who works here, and wait until what nobody has any more is given back."""
        await self.announcing.close()
        await self.calls.close()
        await self._handing_back.close()
        await self._admission.close()

    def _admitted(self) -> None:
        self.streaming.widened()
        self._polling.widened()
