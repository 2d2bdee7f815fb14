"""Says of each call what was called, how it ended and how long it took. Never what was in it."""

from __future__ import annotations

import asyncio
import logging
import time

import grpc
import structlog

from tocsin_server.api.interceptors.call import Call, MethodKind, Work

#: Calls that went well are logged where they took so long; others of them only when debugging, for a log line costs a
#: tenth of a call.
SLOW_SECONDS = 1.0


# Refusals that are logged at once, and how many more a second. A flood of them must not fill a disk.
_BURST, _A_SECOND = 200, 20.0


class CallLog:
    """Logs calls: refusals and slow ones as info, faults as errors, all others as debug.

    Of many refusals at once some are left out; the next that is logged says how many: `unlogged`.
    """

    def __init__(self, *, burst: int = _BURST, a_second: float = _A_SECOND) -> None:
        self._burst, self._a_second = burst, a_second
        self._left, self._counted = float(burst), time.monotonic()
        self._unlogged = 0
        # Bound once: the server is made after logging was set up, and to bind anew costs as much as a log line.
        self._log: structlog.typing.FilteringBoundLogger = structlog.get_logger("tocsin_server.api").bind()

    def around(self, work: Work) -> Work:
        """Outermost: it sees the final status."""

        async def done(call: Call) -> bytes | None:
            began = time.monotonic()
            code: str | None = None
            try:
                return await work(call)
            except asyncio.CancelledError:
                code = grpc.StatusCode.CANCELLED.name
                raise
            finally:
                self._tell(call, code or code_of(call), time.monotonic() - began)

        return done

    def _tell(self, call: Call, code: str, seconds: float) -> None:
        level = _level(code, seconds, call.method.kind)
        if self._log.is_enabled_for(level) and (level != logging.INFO or self._room()):
            ms, peer = round(seconds * 1000, 1), call.context.peer()
            more: dict[str, object] = {"unlogged": self._unlogged} if self._unlogged else {}
            if call.caller:
                more["caller"] = call.caller
            self._unlogged = 0
            self._log.log(level, "call", method=call.method.path, code=code, ms=ms, peer=peer, **more)

    def _room(self) -> bool:
        now = time.monotonic()
        self._left = min(self._left + (now - self._counted) * self._a_second, self._burst)
        self._counted = now
        if self._left < 1:
            self._unlogged += 1
            return False
        self._left -= 1
        return True


def code_of(call: Call) -> str:
    """The name of the status with which a call ended that was not cancelled."""
    # grpc reads a success as None, or as 0 where nobody set it.
    code = call.context.code()
    return code.name if isinstance(code, grpc.StatusCode) else _NAMES.get(code or 0, str(code))


_NAMES: dict[int, str] = {code.value[0]: code.name for code in grpc.StatusCode}


def _level(code: str, seconds: float, kind: MethodKind) -> int:
    if code in ("INTERNAL", "UNKNOWN"):
        return logging.ERROR
    slow = kind is MethodKind.CALL and seconds >= SLOW_SECONDS
    return logging.DEBUG if code in ("OK", "CANCELLED") and not slow else logging.INFO
