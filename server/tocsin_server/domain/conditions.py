"""What a job's start depends on beside its time: limits, turns of keys, jobs of one key, an expiry, the
ends of others; what follows its own end; and its trace."""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import IntEnum

from tocsin_server.domain import limits
from tocsin_server.domain.dependencies import DependsOn, JobRef
from tocsin_server.domain.record import record
from tocsin_server.domain.times import MILLISECOND, to_ms

#: Share of turns that a key has where nothing is said.
DEFAULT_WEIGHT = 1
#: Of a job that ended because it had not begun in time: Cancel.reason.
EXPIRED = "EXPIRED"


class CollapseMode(IntEnum):
    """What becomes of a job of whose key another stands. Numbers: tocsin.v1.Collapse.Mode, and stored records."""

    KEEP = 1  # what stands is left as it is
    REPLACE = 2  # what waits becomes this one
    THROTTLE = 3  # the first of each window
    DEBOUNCE = 4  # the last, once none has come for a window
    RUN_AGAIN_AFTER = 5  # beside one that runs a single next one waits


@record
class Collapse:
    """Which jobs a job is one with: those of its queue, its type and this key."""

    key: str
    mode: CollapseMode
    window: timedelta = timedelta(0)  # 0: none
    max_wait: timedelta | None = None  # DEBOUNCE: how long after the first it runs at the latest


@record
class Conditions:
    """What few jobs have; the others share NO_CONDITIONS, so that who writes many asks `is` first."""

    limit_key: str = ""  # whose limits and turns it takes part in; empty: none
    weight: int = DEFAULT_WEIGHT  # its key's share of turns, 1 to 100
    traceparent: str = ""  # the span in which it was scheduled, as W3C Trace Context writes it; empty: none
    tracestate: str = ""
    collapse: Collapse | None = None
    expire: datetime | timedelta | None = None  # begun by this time, or so long after it is due, or not at all
    depends: DependsOn | None = None  # it waits for the ends of others
    on_end: JobRef | None = None  # the job that its own end lets go

    def begin_by(self, due: datetime) -> datetime | None:
        """When a job that is due then must have begun, to the millisecond above; None: whenever it may."""
        if not isinstance(self.expire, timedelta):
            return self.expire
        return due + min(to_ms(self.expire) * MILLISECOND, limits.LAST_TIME - due)


#: Of a job that names none.
NO_CONDITIONS = Conditions()
