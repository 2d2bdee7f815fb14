"""The thread of a worker: an event loop on which no code of the user's runs, so that none of it can hold that up."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import threading
from collections.abc import Callable, Coroutine
from datetime import timedelta
from typing import Any, TypeAlias

from tocsin.worker.runners.handler_loop import new_event_loop

#: What runs in it, given the wishes to stop: each says how long what runs may take to end.
Work: TypeAlias = "Callable[[asyncio.Queue[timedelta]], Coroutine[Any, Any, None]]"


class WorkerThread:
    """Starts at once. `ended` is set after `result` has what the work returned or raised."""

    def __init__(self, work: Work) -> None:
        self.ended = threading.Event()
        self.result: concurrent.futures.Future[None] = concurrent.futures.Future()
        self._stops: asyncio.Queue[timedelta] = asyncio.Queue()
        self._loop = new_event_loop()
        self._thread = threading.Thread(target=self._live, args=(work,), name="tocsin-worker", daemon=True)
        self._thread.start()

    def stop(self, grace: timedelta) -> None:
        """Ask it to end. From any thread, and in handlers of signals."""
        with contextlib.suppress(RuntimeError):  # it has ended
            self._loop.call_soon_threadsafe(self._stops.put_nowait, grace)

    def _live(self, work: Work) -> None:
        try:
            with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
                runner.run(work(self._stops))
        except BaseException as error:
            self.result.set_exception(error)
        else:
            self.result.set_result(None)
        finally:
            self.ended.set()
