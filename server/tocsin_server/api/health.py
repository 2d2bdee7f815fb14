"""grpc.health.v1: "" and each service say whether the server is ready, "live" whether it is alive."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import grpc
from grpc_health.v1 import health_pb2

from tocsin_server.api.interceptors.call import Call

LIVE = "live"
_Answer = health_pb2.HealthCheckResponse


class Health:
    """The server's health, as its assembly sets it, and the service that tells it.

    It starts out not ready and alive. After `enter_shutdown` it never becomes ready again, while "live" goes on as it
    was: a server that drains must not be killed for it.
    """

    def __init__(self, service_names: Sequence[str]) -> None:
        self._ready_names = ("", *service_names)
        self._statuses: dict[str, Any] = {}  # the stubs' name for their type is not there when run
        self._statuses.update(dict.fromkeys((*self._ready_names, LIVE), _Answer.NOT_SERVING))
        self._changed = asyncio.Event()  # a new one for each change
        self._shutting_down = False

    async def begin(self) -> None:
        """Not ready, alive: before the server listens."""
        await self.set_ready(ready=False)
        await self.set_live(live=True)

    async def set_ready(self, ready: bool) -> None:
        """SERVING or NOT_SERVING for "" and each service; ignored while shutting down."""
        if not self._shutting_down:
            self._set(self._ready_names, serving=ready)

    async def set_live(self, live: bool) -> None:
        """SERVING or NOT_SERVING for "live"."""
        self._set((LIVE,), serving=live)

    async def enter_shutdown(self) -> None:
        """NOT_SERVING for all but "live", for good."""
        await self.set_ready(ready=False)
        self._shutting_down = True
        self._tell_watches()

    def _set(self, names: Sequence[str], *, serving: bool) -> None:
        status = _Answer.SERVING if serving else _Answer.NOT_SERVING
        if any(self._statuses[name] != status for name in names):
            self._statuses.update(dict.fromkeys(names, status))
            self._tell_watches()

    def _tell_watches(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def Check(self, request: health_pb2.HealthCheckRequest, call: Call) -> _Answer:
        """The health of one name."""
        status = self._statuses.get(request.service)
        if status is None:
            known = ", ".join(name or '""' for name in self._statuses)
            await call.context.abort(grpc.StatusCode.NOT_FOUND, f"no such service; there are {known}")
        return _Answer(status=status)

    async def List(self, request: object, call: Call) -> object:
        """The health of each name."""
        statuses = {name: _Answer(status=status) for name, status in self._statuses.items()}
        return health_pb2.HealthListResponse(statuses=statuses)  # type: ignore[attr-defined]  # newer than its stubs

    async def Watch(self, request: health_pb2.HealthCheckRequest, call: Call) -> AsyncIterator[_Answer]:
        """The health of one name, and each change of it; ends when the server stops, which it would keep waiting."""
        told = None
        while True:
            # What is true now: while an answer is written, the server may begin to stop, and that is told first.
            changed, last = self._changed, self._shutting_down
            status = self._statuses.get(request.service, _Answer.SERVICE_UNKNOWN)
            if status != told:
                told = status
                yield _Answer(status=status)
            if last:
                return
            await changed.wait()
