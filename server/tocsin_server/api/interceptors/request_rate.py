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


class RequestRate:
    """A token bucket a client: `burst` calls at once, `a_second` more in each second."""

    def __init__(self, a_second: float, burst: int, limits: CallLimits) -> None:
        self._a_second, self._burst, self._limits = a_second, burst, limits
        self._buckets: dict[str, _Bucket] = {}

    def around(self, work: Work) -> Work:
        """Raises TooManyRequests before the request is read."""

        async def done(call: Call) -> bytes | None:
            client = call.client
            if not self._limits.is_exempt(client):
                self._take(client, time.monotonic())
            return await work(call)

        return done

    def _take(self, client: str, now: float) -> None:
        bucket = self._buckets.get(client)
        if bucket is None:
            if len(self._buckets) >= _REMEMBERED:
                self._forget(now)
            bucket = self._buckets[client] = _Bucket(self._burst, now)
        bucket.tokens = self._tokens(bucket, now)
        bucket.counted = now
        if bucket.tokens < 1:
            raise TooManyRequests(self._a_second, timedelta(seconds=(1 - bucket.tokens) / self._a_second))
        bucket.tokens -= 1

    def _tokens(self, bucket: _Bucket, now: float) -> float:
        return min(self._burst, bucket.tokens + (now - bucket.counted) * self._a_second)

    def _forget(self, now: float) -> None:
        """Those whose buckets are full again: they are as good as new."""
        for client in [name for name, bucket in self._buckets.items() if self._tokens(bucket, now) >= self._burst]:
            del self._buckets[client]
