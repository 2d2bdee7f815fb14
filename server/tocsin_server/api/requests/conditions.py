"""What a spec says of what its job's start depends on. The messages are the shadow ones of wire.py."""

from __future__ import annotations

from datetime import datetime, timedelta

from tocsin.v1 import conditions_pb2, job_pb2, job_service_pb2

from tocsin_server.api.requests.dependencies import check_beside_dependencies, check_depends_on, to_depends
from tocsin_server.api.requests.violations import Violations
from tocsin_server.api.times import to_span, to_time
from tocsin_server.api.trace_context import is_traceparent, is_tracestate
from tocsin_server.domain import limits
from tocsin_server.domain.conditions import DEFAULT_WEIGHT, NO_CONDITIONS, Collapse, CollapseMode, Conditions
from tocsin_server.domain.job import OnConflict
from tocsin_server.domain.times import MILLISECOND

_MODES = {int(mode): mode.name for mode in CollapseMode}
_WITH_WINDOW = (CollapseMode.KEEP, CollapseMode.THROTTLE, CollapseMode.DEBOUNCE)
_WINDOW = "1 ms to 366 days"


def has_conditions(spec: job_pb2.JobSpec) -> bool:
    """Whether a spec says anything of that."""
    if spec.limit_key or spec.HasField("weight") or spec.HasField("trace_context"):
        return True
    if spec.HasField("depends_on") or spec.HasField("on_end"):
        return True
    return spec.HasField("collapse") or spec.HasField("expire")


def check_conditions(wrong: Violations, field: str, spec: job_pb2.JobSpec) -> None:
    """All that it says of that."""
    if spec.limit_key:
        wrong.line(f"{field}.limit_key", spec.limit_key, limits.LIMIT_KEY_BYTES)
    if spec.HasField("weight"):
        wrong.number(f"{field}.weight", spec.weight, 1, limits.MAX_WEIGHT)
        if not spec.limit_key:
            wrong.add(f"{field}.weight", "is a key's share of turns: give limit_key, too")
    if spec.HasField("collapse"):
        _check_collapse(wrong, f"{field}.collapse", spec.collapse)
    if spec.HasField("expire"):
        _check_expire(wrong, f"{field}.expire", spec.expire)
    if spec.HasField("depends_on"):
        check_depends_on(wrong, f"{field}.depends_on", spec)
    if spec.HasField("trace_context"):
        said = spec.trace_context
        if not is_traceparent(said.traceparent):
            wrong.add(
                f"{field}.trace_context.traceparent", "is no traceparent of W3C Trace Context: 00-TRACE-SPAN-FLAGS"
            )
        if not is_tracestate(said.tracestate):
            wrong.add(f"{field}.trace_context.tracestate", "is more than 512 characters of printable ASCII")


def _check_collapse(wrong: Violations, field: str, collapse: conditions_pb2.Collapse) -> None:
    if not collapse.key:
        wrong.add(f"{field}.key", "is needed: what these jobs have in common")
    wrong.line(f"{field}.key", collapse.key, limits.COLLAPSE_KEY_BYTES)
    if collapse.mode == 0:
        wrong.add(f"{field}.mode", f"is needed: one of {', '.join(_MODES.values())}")
        return
    wrong.enum(f"{field}.mode", collapse.mode, _MODES)
    mode = _MODES.get(collapse.mode, "")
    if collapse.HasField("window"):
        wrong.span(f"{field}.window", collapse.window, MILLISECOND, limits.MAX_WINDOW, _WINDOW)
        if mode and CollapseMode[mode] not in _WITH_WINDOW:
            wrong.add(f"{field}.window", f"has no meaning with {mode}: leave it out")
    elif mode in ("THROTTLE", "DEBOUNCE"):
        wrong.add(f"{field}.window", f"is needed with {mode}")
    if collapse.HasField("max_wait"):
        wrong.span(f"{field}.max_wait", collapse.max_wait, MILLISECOND, limits.MAX_WINDOW, _WINDOW)
        if mode != "DEBOUNCE":
            wrong.add(f"{field}.max_wait", "has a meaning with DEBOUNCE alone: leave it out")
        elif collapse.HasField("window") and not wrong and to_span(collapse.max_wait) < to_span(collapse.window):
            wrong.add(f"{field}.max_wait", "is below window")


def _check_expire(wrong: Violations, field: str, expire: conditions_pb2.Expire) -> None:
    match expire.WhichOneof("when"):
        case "at":
            wrong.time(f"{field}.at", expire.at)
        case "after_due":
            longest = limits.MAX_DELAY
            wrong.span(f"{field}.after_due", expire.after_due, MILLISECOND, longest, "1 ms to 100 years")
        case _:
            wrong.add(field, "needs at or after_due")


def check_beside_conditions(wrong: Violations, request: job_service_pb2.ScheduleJobRequest) -> None:
    """What a request says beside such a spec."""
    spec, when = request.job, request.WhichOneof("when")
    check_beside_dependencies(wrong, request)
    if spec.HasField("collapse"):
        if request.on_conflict == int(OnConflict.REPLACE):
            wrong.add("on_conflict", "REPLACE does not go with job.collapse: two rules would name two jobs to replace")
        if when is not None and spec.collapse.mode == int(CollapseMode.DEBOUNCE):
            wrong.add(when, "does not go with DEBOUNCE, which says itself when the job is due: leave it out")
    at = spec.expire.WhichOneof("when") == "at" and when == "schedule_time" and not wrong
    if at and to_time(spec.expire.at) <= to_time(request.schedule_time):
        wrong.add("job.expire.at", "is not after schedule_time: the job could never begin")


def to_conditions(spec: job_pb2.JobSpec) -> Conditions:
    """The same as the server knows it."""
    if not has_conditions(spec):
        return NO_CONDITIONS
    return Conditions(
        limit_key=spec.limit_key,
        weight=spec.weight if spec.HasField("weight") else DEFAULT_WEIGHT,
        traceparent=spec.trace_context.traceparent,
        tracestate=spec.trace_context.tracestate,
        collapse=_to_collapse(spec.collapse) if spec.HasField("collapse") else None,
        expire=_to_expire(spec.expire),
        depends=to_depends(spec),
    )


def _to_collapse(collapse: conditions_pb2.Collapse) -> Collapse:
    return Collapse(
        collapse.key,
        CollapseMode(collapse.mode),
        to_span(collapse.window) if collapse.HasField("window") else timedelta(0),
        to_span(collapse.max_wait) if collapse.HasField("max_wait") else None,
    )


def _to_expire(expire: conditions_pb2.Expire) -> datetime | timedelta | None:
    match expire.WhichOneof("when"):
        case "at":
            return to_time(expire.at)
        case "after_due":
            return to_span(expire.after_due)
        case _:
            return None
