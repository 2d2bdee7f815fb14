"""Bounds how many calls a client begins a second. Health is not counted."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import timedelta

from tocsin_server.api.call_limits import CallLimits
from tocsin_server.api.interceptors.call import Call, Work
from tocsin_server.domain.errors import TooManyRequests

# Clients that are remembered before those are forgotten that have not called for a while.
_REMEMBERED = 10_000


@dataclass(slots=True)
class _Bucket:
    tokens: float
    counted: float  # time.monotonic()
    a_second: float
    burst: int

    def tokens_at(self, now: float) -> float:
        """How many there are then."""
        return min(self.burst, self.tokens + (now - self.counted) * self.a_second)


class RequestRate:
    """A token bucket a client: so many calls at once, and more with each second; as the limits say, or the principal's
    own."""

    def __init__(self, limits: CallLimits) -> None:
        self._limits = limits
        self._buckets: dict[str, _Bucket] = {}

    def around(self, work: Work) -> Work:
        """Raises TooManyRequests before the request is read."""

        async def done(call: Call) -> bytes | None:
            a_second, burst = self._limits.per_second_per_client, self._limits.burst_per_client
            if call.principal is not None:
                own = call.principal.limits
                a_second, burst = own.per_second or a_second, own.burst or burst
            if a_second is not None and not self._limits.is_exempt(client := call.client):
                self._take(client, a_second, burst, time.monotonic())
            return await work(call)

        return done

    def _take(self, client: str, a_second: float, burst: int, now: float) -> None:
        bucket = self._buckets.get(client)
        if bucket is None:
            if len(self._buckets) >= _REMEMBERED:
                self._forget(now)
            bucket = self._buckets[client] = _Bucket(burst, now, a_second, burst)
        bucket.a_second, bucket.burst = a_second, burst  # it may have been given others
        bucket.tokens = bucket.tokens_at(now)
        bucket.counted = now
        if bucket.tokens < 1:
            raise TooManyRequests(a_second, timedelta(seconds=(1 - bucket.tokens) / a_second))
        bucket.tokens -= 1

    def _forget(self, now: float) -> None:
        """Those whose buckets are full again: they are as good as new."""
        for client in [name for name, bucket in self._buckets.items() if bucket.tokens_at(now) >= bucket.burst]:
            del self._buckets[client]
