"""What a spec says of what its job's start depends on. The messages are the shadow ones of wire.py."""

from __future__ import annotations

from tocsin.v1 import job_pb2

from tocsin_server.api.requests.violations import Violations
from tocsin_server.api.trace_context import is_traceparent, is_tracestate
from tocsin_server.domain import limits
from tocsin_server.domain.conditions import DEFAULT_WEIGHT, NO_CONDITIONS, Conditions


def has_conditions(spec: job_pb2.JobSpec) -> bool:
    """Whether a spec says anything of that."""
    return bool(spec.limit_key) or spec.HasField("weight") or spec.HasField("trace_context")


def check_conditions(wrong: Violations, field: str, spec: job_pb2.JobSpec) -> None:
    """All that it says of that."""
    if spec.limit_key:
        wrong.text(f"{field}.limit_key", spec.limit_key, limits.LIMIT_KEY_BYTES)
        wrong.characters(f"{field}.limit_key", spec.limit_key, limits.LIMIT_KEY_BYTES)
    if spec.HasField("weight"):
        wrong.number(f"{field}.weight", spec.weight, 1, limits.MAX_WEIGHT)
        if not spec.limit_key:
            wrong.add(f"{field}.weight", "is a key's share of turns: give limit_key, too")
    if spec.HasField("trace_context"):
        said = spec.trace_context
        if not is_traceparent(said.traceparent):
            wrong.add(
                f"{field}.trace_context.traceparent", "is no traceparent of W3C Trace Context: 00-TRACE-SPAN-FLAGS"
            )
        if not is_tracestate(said.tracestate):
            wrong.add(f"{field}.trace_context.tracestate", "is more than 512 characters of printable ASCII")


def to_conditions(spec: job_pb2.JobSpec) -> Conditions:
    """The same as the server knows it."""
    if not has_conditions(spec):
        return NO_CONDITIONS
    return Conditions(
        limit_key=spec.limit_key,
        weight=spec.weight if spec.HasField("weight") else DEFAULT_WEIGHT,
        traceparent=spec.trace_context.traceparent,
        tracestate=spec.trace_context.tracestate,
    )
