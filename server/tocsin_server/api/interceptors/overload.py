"""Bounds how many calls are open, each class of method by itself: open watches never keep other calls out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from tocsin_server.api.interceptors.call import Call, MethodKind, Work
from tocsin_server.domain.errors import TooManyCalls


class Overload:
    """Refuses calls of a class of which `limits` are open already, or `client_limits` of the same client, which is
    known by its address without the port. Health and reflection are not counted at all."""

    def __init__(self, limits: Mapping[MethodKind, int], client_limits: Mapping[MethodKind, int] | None = None) -> None:
        self._limits = limits
        self._client_limits = client_limits or {}
        self._open = dict.fromkeys(limits, 0)
        self._of_clients: Counter[tuple[MethodKind, str]] = Counter()

    def around(self, work: Work) -> Work:
        """Raises TooManyCalls."""

        async def done(call: Call) -> bytes | None:
            kind = call.method.kind
            if self._open[kind] >= self._limits[kind]:
                raise TooManyCalls(kind.value, self._limits[kind])
            most = self._client_limits.get(kind)
            client = None if most is None else (kind, call.context.peer().rpartition(":")[0])
            if client is not None and most is not None and self._of_clients[client] >= most:
                raise TooManyCalls(kind.value, most, of_client=True)
            self._open[kind] += 1
            if client is not None:
                self._of_clients[client] += 1
            try:
                return await work(call)
            finally:
                self._open[kind] -= 1
                if client is not None:
                    self._of_clients[client] -= 1
                    if not self._of_clients[client]:
                        del self._of_clients[client]

        return done
