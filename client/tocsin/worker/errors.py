"""What a handler may raise to say how its attempt ends. All other exceptions are failures, to be retried."""

from __future__ import annotations

import math
from datetime import timedelta


class RetryLater(Exception):
    """The attempt failed; the next one, if the retry policy leaves any, comes after `delay` (seconds or timedelta).

    pause_limit: name of a limit of the job's queue that lets no job begin for `delay`, either: whoever is called said
    that it is too busy for all of them. Of a limit by key it is the job's key that is paused.
    """

    def __init__(self, delay: timedelta | float, message: str = "", *, pause_limit: str = "") -> None:
        self.delay = seconds_or_timedelta(delay, "delay")
        self.pause_limit = pause_limit
        super().__init__(message or f"asked to be run again in {self.delay.total_seconds():g} s")


class DoNotRetry(Exception):
    """The job is FAILED at once, whatever attempts are left."""


class Release(Exception):
    """The job is given back: no attempt is spent, nothing counts as a failure, and it is due again at once, for whoever
    has a free slot. `reason` stands in the log."""

    def __init__(self, reason: str = "") -> None:
        self.reason = reason or "given back by its handler"
        super().__init__(self.reason)


class UnfitPayload(DoNotRetry):
    """The payload cannot be read as the handler asked; another attempt would find it no different."""


class InvalidPayload(UnfitPayload):
    """The payload is not what the handler's `payload=` class says. Names the fields, never their values."""


class UnfitResult(DoNotRetry):
    """What the handler returned cannot be kept. Its work is done, so another attempt would only repeat it."""


class ParentsUnread(Exception):
    """The jobs that this one waited for could not be read: server or store are away, or who runs it may not."""


class HandedOver(Exception):
    """The attempt goes on elsewhere: whoever has its token extends its lease and reports how it ended.

    lease: how long it is given for that before anybody has heard of it.
    """

    def __init__(self, lease: timedelta) -> None:
        self.lease = lease
        super().__init__("goes on elsewhere")


class JobCancelled(Exception):
    """The attempt was asked to stop and does. `reason` is the asker's."""

    def __init__(self, reason: str = "") -> None:
        self.reason = reason
        super().__init__(reason)


def seconds_or_timedelta(span: timedelta | float, name: str) -> timedelta:
    """The span as timedelta. Raises ValueError where it is negative or not finite, naming it."""
    if not isinstance(span, timedelta):
        if not math.isfinite(span):
            raise ValueError(f"{name} is {span}: give seconds or a timedelta")
        span = timedelta(seconds=span)
    if span < timedelta(0):
        raise ValueError(f"{name} is negative: {span}")
    return span
