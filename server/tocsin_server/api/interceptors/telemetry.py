"""Says of each call what was called, how it ended and how long it took. Never what was in it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc
import structlog

from tocsin_server.api.interceptors.call import Call, Kind

#: Calls that went well are logged where they took so long; others of them only when debugging, for a log line costs a
#: tenth of a call.
SLOW_SECONDS = 1.0


class Telemetry:
    """Logs calls: refusals and slow ones as info, faults as errors, all others as debug."""

    def __init__(self) -> None:
        # Bound once: the server is made after logging was set up, and to bind anew costs as much as a log line.
        self._log: structlog.typing.FilteringBoundLogger = structlog.get_logger("tocsin_server.api").bind()

    @asynccontextmanager
    async def around(self, call: Call) -> AsyncIterator[None]:
        """Outermost: it sees the final status."""
        began = time.monotonic()
        code: str | None = None
        try:
            yield
        except asyncio.CancelledError:
            code = grpc.StatusCode.CANCELLED.name
            raise
        finally:
            code = code or _code(call)
            seconds = time.monotonic() - began
            level = _level(code, seconds, call.method.kind)
            if self._log.is_enabled_for(level):
                ms, peer = round(seconds * 1000, 1), call.context.peer()
                self._log.log(level, "call", method=call.method.path, code=code, ms=ms, peer=peer)


def _code(call: Call) -> str:
    # grpc reads a success as None, or as 0 where nobody set it.
    code = call.context.code()
    return code.name if isinstance(code, grpc.StatusCode) else _NAMES.get(code or 0, str(code))


_NAMES: dict[int, str] = {code.value[0]: code.name for code in grpc.StatusCode}


def _level(code: str, seconds: float, kind: Kind) -> int:
    if code in ("INTERNAL", "UNKNOWN"):
        return logging.ERROR
    slow = kind is Kind.CALL and seconds >= SLOW_SECONDS
    return logging.DEBUG if code in ("OK", "CANCELLED") and not slow else logging.INFO
