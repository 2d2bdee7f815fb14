"""Counts calls by method and code, how long they took, and how many are open."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection

import grpc

from tocsin_server.api.interceptors.call import Call, MethodKind, Work
from tocsin_server.api.interceptors.call_log import code_of
from tocsin_server.telemetry.metrics import Metrics

#: A method that is none of ours: its name comes from the caller.
_UNKNOWN = "unknown"


class Counting:
    """Counts into `metrics`. methods: the paths of all methods that there are."""

    def __init__(self, metrics: Metrics, methods: Collection[str]) -> None:
        self._metrics = metrics
        self._methods = {path: path.lstrip("/") for path in methods}
        metrics.open_calls.update((kind.value, 0) for kind in MethodKind)

    def around(self, work: Work) -> Work:
        """Outermost, but for the log: it sees the final status."""
        metrics = self._metrics
        calls, seconds, open_calls = metrics.calls, metrics.call_seconds, metrics.open_calls

        async def done(call: Call) -> bytes | None:
            method = self._methods.get(call.method.path, _UNKNOWN)
            kind = call.method.kind.value
            began = time.monotonic()
            code: str | None = None
            open_calls[kind] += 1
            try:
                return await work(call)
            except asyncio.CancelledError:
                code = grpc.StatusCode.CANCELLED.name
                raise
            finally:
                open_calls[kind] -= 1
                calls.add(method, code or code_of(call))
                if call.method.kind is MethodKind.CALL:
                    seconds.observe(time.monotonic() - began, method)

        return done
