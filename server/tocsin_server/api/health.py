"""grpc.health.v1: "" and each service say whether the server is ready, "live" whether it is alive."""

from __future__ import annotations

from collections.abc import Sequence

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

LIVE = "live"
_SERVING = health_pb2.HealthCheckResponse.SERVING
_NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


class _Servicer(health.aio.HealthServicer):
    """The standard service, and its newer List, which the library leaves out."""

    def __init__(self) -> None:
        super().__init__()
        self._listed: dict[str, health_pb2.HealthCheckResponse] = {}

    async def set(self, service: str, status: int) -> None:
        self._listed[service] = health_pb2.HealthCheckResponse(status=status)
        await super().set(service, status)

    async def List(self, request: object, context: object) -> object:
        return health_pb2.HealthListResponse(statuses=self._listed)  # type: ignore[attr-defined]  # newer than its stubs


class Health:
    """The server's health, as its assembly sets it.

    It starts out not ready and alive. After `enter_shutdown` it never becomes ready again, while "live" goes on as it
    was: a server that drains must not be killed for it.
    """

    def __init__(self, service_names: Sequence[str] | None = None) -> None:
        self._ready_names = ("", *(SERVICES if service_names is None else service_names))
        self._servicer = _Servicer()
        self._ready: bool | None = None
        self._live: bool | None = None
        self._shutting_down = False

    async def begin(self) -> None:
        """Not ready, alive: before the server listens."""
        await self.set_ready(ready=False)
        await self.set_live(live=True)

    async def set_ready(self, ready: bool) -> None:
        """SERVING or NOT_SERVING for "" and each service; ignored while shutting down."""
        if ready != self._ready and not self._shutting_down:
            self._ready = ready
            await self._set(self._ready_names, serving=ready)

    async def set_live(self, live: bool) -> None:
        """SERVING or NOT_SERVING for "live"."""
        if live != self._live:
            self._live = live
            await self._set((LIVE,), serving=live)

    async def enter_shutdown(self) -> None:
        """NOT_SERVING for all but "live", for good."""
        await self.set_ready(ready=False)
        self._shutting_down = True

    async def _set(self, names: Sequence[str], *, serving: bool) -> None:
        for name in names:
            await self._servicer.set(name, _SERVING if serving else _NOT_SERVING)

    def add_to(self, server: grpc.aio.Server) -> None:
        """Serve it."""
        health_pb2_grpc.add_HealthServicer_to_server(self._servicer, server)


SERVICES = (
    "tocsin.v1.JobService",
    "tocsin.v1.QueueService",
    "tocsin.v1.ReminderService",
    "tocsin.v1.ServerService",
)
