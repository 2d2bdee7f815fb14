"""Refuses calls while the server shuts down."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tocsin_server.api.interceptors.call import Call
from tocsin_server.domain.errors import Draining


class DrainGate:
    """Open until `close`; calls under way go on."""

    def __init__(self) -> None:
        self._closed = False

    def close(self) -> None:
        """Refuse all further calls."""
        self._closed = True

    @asynccontextmanager
    async def around(self, call: Call) -> AsyncIterator[None]:
        """Raises Draining once closed."""
        if self._closed:
            raise Draining
        yield
