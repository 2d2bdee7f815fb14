"""Limits of a queue: how many of its jobs run at once, and how many begin in a span of time, over all servers."""

from __future__ import annotations

from datetime import timedelta
from enum import IntEnum

from tocsin_server.domain.record import record


class LimitScope(IntEnum):
    """Which jobs a limit counts together. Numbers: tocsin.v1.Limit.Scope."""

    QUEUE = 1  # all of the queue
    TYPE = 2  # all of one type
    KEY = 3  # those of one limit_key, each key by itself


class OnFull(IntEnum):
    """What happens to a job that comes while its limit is full. Numbers: tocsin.v1.Limit.OnFull."""

    WAIT = 1
    CANCEL_NEW = 2
    CANCEL_RUNNING = 3


@record
class Rate:
    """So many jobs begin in `per` at most, evenly; `burst` of them may begin at once where none did for a while."""

    jobs: int
    per: timedelta
    burst: int = 1


@record
class Limit:
    """One limit of a queue; a job begins where all those that count it have room."""

    name: str
    scope: LimitScope
    type: str = ""  # TYPE: whose; KEY: of this type only; empty: all
    max_active: int | None = None  # how many run at once; None: any number
    rate: Rate | None = None  # None: as fast as may be
    on_full: OnFull = OnFull.WAIT

    def covers(self, type_: str, limit_key: str) -> bool:
        """Whether it counts jobs of this type and key."""
        if self.scope is LimitScope.KEY and not limit_key:
            return False
        return not self.type or self.type == type_


#: The reason of a cancel by CANCEL_NEW and by CANCEL_RUNNING.
LIMIT_FULL = "LIMIT_FULL"
