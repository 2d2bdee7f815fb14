"""Bounds how many calls are open, each class of method by itself: open watches never keep other calls out."""

from __future__ import annotations

from collections import Counter

from tocsin_server.api.call_limits import CallLimits
from tocsin_server.api.interceptors.call import Call, MethodKind, Work
from tocsin_server.domain.errors import TooManyCalls

#: A principal's own limit of each class.
_OWN = {
    MethodKind.CALL: "open",
    MethodKind.WATCH: "watches",
    MethodKind.WORKER: "workers",
    MethodKind.TRANSFER: "transfers",
}


class Overload:
    """Refuses calls of a class of which as many are open already as may be, or of the same client. Health and
    reflection are not counted at all."""

    def __init__(self, limits: CallLimits) -> None:
        self._limits = limits
        self._most = {
            MethodKind.CALL: limits.calls,
            MethodKind.WATCH: limits.watches,
            MethodKind.WORKER: limits.workers,
            MethodKind.TRANSFER: limits.transfers,
        }
        self._most_of_client = {
            MethodKind.CALL: limits.calls_per_client,
            MethodKind.WATCH: limits.watches_per_client,
            MethodKind.WORKER: limits.workers_per_client,
            MethodKind.TRANSFER: limits.transfers_per_client,
        }
        self._open = dict.fromkeys(self._most, 0)
        self._of_clients: Counter[tuple[MethodKind, str]] = Counter()

    def around(self, work: Work) -> Work:
        """Raises TooManyCalls."""

        async def done(call: Call) -> bytes | None:
            kind = call.method.kind
            if self._open[kind] >= self._most[kind]:
                raise TooManyCalls(kind.value, self._most[kind])
            most = self._most_of_client[kind]
            if call.principal is not None and (own := getattr(call.principal.limits, _OWN[kind])) is not None:
                most = own
            client = None if most is None or self._limits.is_exempt(call.client) else (kind, call.client)
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
