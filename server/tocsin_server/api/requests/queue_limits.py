"""Limits of a queue, as a request gives them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import timedelta

from tocsin.v1 import queue_pb2, shared_limit_pb2

from tocsin_server.api.requests.violations import Violations
from tocsin_server.api.times import to_span
from tocsin_server.domain import limits
from tocsin_server.domain.queue_limits import Limit, LimitScope, OnFull, Rate

_NAME = re.compile(rf"[A-Za-z0-9._-]{{1,{limits.LIMIT_NAME_CHARACTERS}}}\Z")
_SCOPES = {scope.value: scope.name for scope in LimitScope}
_ON_FULL = {0: "ON_FULL_UNSPECIFIED"} | {choice.value: choice.name for choice in OnFull}


def is_limit_name(value: str) -> bool:
    """Whether it can be a limit's name."""
    return _NAME.match(value) is not None


def check_limits(wrong: Violations, field: str, given: Sequence[queue_pb2.Limit]) -> None:
    """All that can be wrong with a queue's limits; `field` is their path."""
    if not wrong.count(field, given, limits.LIMITS_PER_QUEUE):
        return
    names: set[str] = set()
    for i, limit in enumerate(given):
        path = f"{field}[{i}]"
        if check_name(wrong, f"{path}.name", limit.name) and limit.name in names:
            wrong.add(f"{path}.name", f"is that of another limit, too: {limit.name}")
        names.add(limit.name)
        _check_scope(wrong, path, limit)
        check_max_and_rate(wrong, path, limit)
        wrong.enum(f"{path}.on_full", limit.on_full, _ON_FULL)
        if limit.on_full not in (0, OnFull.WAIT) and not limit.HasField("max_active"):
            wrong.add(f"{path}.on_full", "needs max_active: a rate alone is never full of jobs")


def check_name(wrong: Violations, field: str, name: str) -> bool:
    """Whether it can be a limit's name."""
    if is_limit_name(name):
        return True
    wrong.add(field, f"is no name: 1 to {limits.LIMIT_NAME_CHARACTERS} of A-Z a-z 0-9 . _ - are allowed")
    return False


def check_max_and_rate(wrong: Violations, path: str, limit: queue_pb2.Limit | shared_limit_pb2.SharedLimit) -> None:
    """How many may run and begin; one of both is needed."""
    if limit.HasField("max_active"):
        wrong.number(f"{path}.max_active", limit.max_active, 1, limits.MAX_ACTIVE)
    elif not limit.HasField("rate"):
        wrong.add(path, "limits nothing: give max_active, rate, or both")
    if limit.HasField("rate"):
        _check_rate(wrong, f"{path}.rate", limit.rate)


def _check_scope(wrong: Violations, path: str, limit: queue_pb2.Limit) -> None:
    scope: int = limit.scope
    if scope not in _SCOPES:
        said = f"is {scope}" if scope else "is needed"
        wrong.add(f"{path}.scope", f"{said}: one of {', '.join(_SCOPES.values())}")
    elif scope == LimitScope.QUEUE:
        if limit.type:
            wrong.add(f"{path}.type", "is for TYPE and KEY: QUEUE counts jobs of all types")
    elif limit.type or scope == LimitScope.TYPE:
        wrong.name(f"{path}.type", limit.type)


def _check_rate(wrong: Violations, path: str, rate: queue_pb2.Limit.Rate) -> None:
    wrong.number(f"{path}.jobs", rate.jobs, 1, limits.RATE_JOBS)
    if not rate.HasField("per"):
        wrong.add(f"{path}.per", "is needed")
    else:
        wrong.span(f"{path}.per", rate.per, timedelta(milliseconds=1), limits.MAX_RATE_SPAN, "1 ms to 30 days")
    if rate.HasField("burst") and 1 <= rate.jobs <= limits.RATE_JOBS:
        wrong.number(f"{path}.burst", rate.burst, 1, rate.jobs)


def to_limits(given: Iterable[queue_pb2.Limit]) -> tuple[Limit, ...]:
    """The limits of a request that was checked."""
    return tuple(_to_limit(limit) for limit in given)


def to_rate(rate: queue_pb2.Limit.Rate) -> Rate:
    """The rate of a request that was checked."""
    return Rate(rate.jobs, to_span(rate.per), rate.burst if rate.HasField("burst") else 1)


def _to_limit(limit: queue_pb2.Limit) -> Limit:
    rate = to_rate(limit.rate) if limit.HasField("rate") else None
    return Limit(
        limit.name,
        LimitScope(limit.scope),
        limit.type,
        limit.max_active if limit.HasField("max_active") else None,
        rate,
        OnFull(limit.on_full or OnFull.WAIT),
    )
