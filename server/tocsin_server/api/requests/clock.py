"""Requests about the store's clock."""

from __future__ import annotations

from datetime import timedelta

from tocsin.v1 import clock_service_pb2 as pb

from tocsin_server.api.requests.violations import Violations
from tocsin_server.api.times import to_span, to_time
from tocsin_server.domain import limits
from tocsin_server.domain.clock import Advance

_DEFAULT_SETTLE, _LONGEST_SETTLE = timedelta(seconds=1), timedelta(seconds=60)


def advance(request: pb.AdvanceClockRequest) -> Advance:
    """How far to move it."""
    wrong = Violations()
    target = request.WhichOneof("target")
    match target:
        case "by":
            wrong.span("by", request.by, timedelta(0), limits.MAX_DELAY, f"0 to {limits.MAX_DELAY.days:,} days")
        case "to":
            wrong.time("to", request.to)
        case "to_next_due":
            if not request.to_next_due:
                wrong.add("to_next_due", "is true where it is given; else give `by` or `to`")
        case None:
            wrong.add("by", "is needed, or `to`, or `to_next_due`")
    if request.HasField("settle"):
        wrong.span("settle", request.settle, timedelta(0), _LONGEST_SETTLE, "0 to 60 s")
    wrong.done()
    return Advance(
        by=to_span(request.by) if target == "by" else None,
        to=to_time(request.to) if target == "to" else None,
        settle=to_span(request.settle) if request.HasField("settle") else _DEFAULT_SETTLE,
    )
