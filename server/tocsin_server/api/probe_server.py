"""The port for probes: health and nothing else, in plaintext, beside a port that speaks TLS."""

from __future__ import annotations

from datetime import timedelta

import grpc

from tocsin_server.api.call_limits import CallLimits
from tocsin_server.api.connection_guard import room_for_connections
from tocsin_server.api.connections import Connections, options
from tocsin_server.api.grpc_server import bound
from tocsin_server.api.health import Health
from tocsin_server.api.interceptors.call_log import CallLog
from tocsin_server.api.interceptors.errors import Errors
from tocsin_server.api.methods import Gate, service_handler
from tocsin_server.api.reading import RequestBytes
from tocsin_server.api.services import HEALTH

# A probe asks by a few bytes.
_LIMITS = CallLimits(request_bytes=1 << 20)


class ProbeServer:
    """Serves grpc.health.v1 on an address of its own: whoever reaches it learns whether the server is ready."""

    def __init__(self, health: Health, listen: str, *, reuse_port: bool = False) -> None:
        self._listen = listen
        self._reuse_port = reuse_port
        room = room_for_connections()
        self._server = grpc.aio.server(
            options=options(Connections(), open_calls=_LIMITS.open, room=room, reuse_port=reuse_port)
        )
        gate = Gate([CallLog(), Errors()], RequestBytes(_LIMITS.request_bytes), _LIMITS.idle)
        self._server.add_generic_rpc_handlers((service_handler(HEALTH, health, gate),))

    async def start(self) -> int:
        """Listen; the port. CannotListen."""
        port = bound(self._server, self._listen, None, reuse_port=self._reuse_port)
        await self._server.start()
        return port

    async def stop(self, grace: timedelta) -> None:
        """Close the port."""
        await self._server.stop(grace.total_seconds())
