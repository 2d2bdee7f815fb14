"""Connections to addresses that were checked, and to no others."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from httpcore2 import AnyIOBackend, AsyncNetworkBackend, AsyncNetworkStream, ConnectError, ConnectTimeout

from tocsin_server.webhooks.guard import Guard

#: Seconds for each address of a name but the last: a machine without IPv6 may learn nothing of a packet's fate.
_TRY = 5.0


class GuardedBackend(AsyncNetworkBackend):
    """Looks each host up once, lets the guard choose among its addresses, and connects to one of those. What comes on
    top of it, TLS and the Host header, goes by the name."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self._plain = AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> AsyncNetworkStream:
        """Connect to the first address that takes it. AddressRefused, NameUnknown; ConnectError, ConnectTimeout."""
        *first, last = await self._guard.addresses(host)
        for address in first:
            try:
                return await self._plain.connect_tcp(address, port, _TRY, local_address, socket_options)
            except (ConnectError, ConnectTimeout):
                pass
        return await self._plain.connect_tcp(last, port, timeout, local_address, socket_options)
