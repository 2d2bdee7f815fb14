"""Ends a call when its caller no longer waits, and says whether it may have acted."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from tocsin_server.api.interceptors.call import Call, Context, MethodKind, Work
from tocsin_server.domain.errors import DeadlineOutcomeUnknown, DeadlinePassed, ReadTooSlow
from tocsin_server.operations.schedule_jobs import CancelledUnsent

# A caller's own clock ends its call with a bare status. Ours goes off this much earlier, so that what arrives says
# whether the call may have acted; of a short deadline only a twentieth.
_EARLIER = 0.05
_EARLIER_SHARE = 0.05
_ANSWERED_WITHIN = 0.25  # seconds that are left for reading what a wait was for


def within_deadline(wait: timedelta, context: Context) -> timedelta:
    """A wait that leaves time for an answer before the caller's deadline."""
    left: float | None = context.time_remaining()  # without a deadline it is None, whatever the stubs say
    if left is None:
        return wait
    return min(wait, timedelta(seconds=max(0.0, left - max(_ANSWERED_WITHIN, left * _EARLIER_SHARE))))


class Deadline:
    """Gives unary calls without a deadline the server's `default`. Watches may stay open, as may exports, imports, and
    workers who wait for jobs, without a deadline.

    A store call under way is not cancelled: it runs to its end unseen.
    """

    def __init__(self, default: timedelta) -> None:
        self._default = default.total_seconds()

    def around(self, work: Work) -> Work:
        """Raises DeadlinePassed where nothing was sent to the store, ReadTooSlow, DeadlineOutcomeUnknown."""

        async def done(call: Call) -> bytes | None:
            seconds = self._seconds(call)
            if seconds is None:
                return await work(call)
            if seconds <= 0:
                raise DeadlinePassed
            timer = _Timer(seconds)
            try:
                return await work(call)
            except asyncio.CancelledError as error:
                if not timer.expired:
                    raise
                timer.take_back()
                if isinstance(error, CancelledUnsent):
                    raise DeadlinePassed from None
                raise (ReadTooSlow if call.method.reads else DeadlineOutcomeUnknown)() from None
            finally:
                timer.stop()

        return done

    def _seconds(self, call: Call) -> float | None:
        """How long the call may take; None: as long as it likes."""
        if call.method.kind is MethodKind.WATCH:
            return None
        # Without a deadline it is None, whatever the stubs say.
        left: float | None = call.context.time_remaining()
        if left is None:
            return self._default if call.method.kind is MethodKind.CALL else None
        return left - min(_EARLIER, left * _EARLIER_SHARE)


class _Timer:
    """Cancels the current task after some seconds."""

    __slots__ = ("_handle", "_task", "expired")

    def __init__(self, seconds: float) -> None:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a call is served by a task")
        self._task = task
        self.expired = False
        self._handle = asyncio.get_running_loop().call_later(seconds, self._expire)

    def _expire(self) -> None:
        self.expired = True
        self._task.cancel()

    def take_back(self) -> None:
        """The task is not cancelled after all."""
        self._task.uncancel()

    def stop(self) -> None:
        """Do not go off any more."""
        self._handle.cancel()
