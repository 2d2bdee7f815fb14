"""What a job's start depends on beside its time: limits and the turns of keys; and the trace that it belongs to."""

from __future__ import annotations

from tocsin_server.domain.record import record

#: Share of turns that a key has where nothing is said.
DEFAULT_WEIGHT = 1


@record
class Conditions:
    """What few jobs have; the others share NO_CONDITIONS, so that who writes many asks `is` first."""

    limit_key: str = ""  # whose limits and turns it takes part in; empty: none
    weight: int = DEFAULT_WEIGHT  # its key's share of turns, 1 to 100
    traceparent: str = ""  # the span in which it was scheduled, as W3C Trace Context writes it; empty: none
    tracestate: str = ""


#: Of a job that names none.
NO_CONDITIONS = Conditions()
