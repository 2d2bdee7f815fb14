"""Refuses calls while the server shuts down."""

from __future__ import annotations

from tocsin_server.api.interceptors.call import Call, Work
from tocsin_server.domain.errors import Draining


class DrainGate:
    """Open until `close`; calls under way go on."""

    def __init__(self) -> None:
        self._closed = False

    def close(self) -> None:
        """Refuse all further calls."""
        self._closed = True

    def around(self, work: Work) -> Work:
        """Raises Draining once closed."""

        async def done(call: Call) -> bytes | None:
            if self._closed:
                raise Draining
            return await work(call)

        return done
