"""A queue's limits as stores keep them: as JSON, or a document, beside its other settings; and packed, as the scripts
of Redis read them at each claim (lua/lib/limits.lua)."""

from __future__ import annotations

import struct
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from tocsin_server.domain.queue_limits import Limit, LimitScope, OnFull, Rate
from tocsin_server.domain.queues import QueueSettings
from tocsin_server.domain.times import to_ms

#: Bits of a mode.
_LIMITED, _KEYED, _FAIR, _ORDERED, _CANCELS, _AGEING = 1, 2, 4, 32, 64, 128
_NUMBERS = struct.Struct(">II6sI")  # max_active, jobs, per in ms, burst; 0: none


def limits_to_json(limits: Sequence[Limit]) -> list[dict[str, Any]]:
    """The limits, in their order; what is not said is left out."""
    said = []
    for limit in limits:
        one: dict[str, Any] = {"name": limit.name, "scope": int(limit.scope), "on_full": int(limit.on_full)}
        if limit.type:
            one["type"] = limit.type
        if limit.max_active is not None:
            one["max_active"] = limit.max_active
        if limit.rate is not None:
            one["rate"] = {"jobs": limit.rate.jobs, "per_ms": to_ms(limit.rate.per), "burst": limit.rate.burst}
        said.append(one)
    return said


def limits_of(said: Sequence[Mapping[str, Any]]) -> tuple[Limit, ...]:
    """What such a list says."""
    return tuple(_limit_of(one) for one in said)


def _limit_of(said: Mapping[str, Any]) -> Limit:
    rate = said.get("rate")
    return Limit(
        said["name"],
        LimitScope(said["scope"]),
        said.get("type", ""),
        said.get("max_active"),
        None if rate is None else Rate(rate["jobs"], timedelta(milliseconds=rate["per_ms"]), rate["burst"]),
        OnFull(said["on_full"]),
    )


def span_of(ms: int | None) -> timedelta | None:
    """A span of milliseconds, where one is kept."""
    return None if ms is None else timedelta(milliseconds=ms)


def packed_limits(settings: QueueSettings) -> bytes:
    """The mode, and the limits; empty where nothing is limited, no turns are taken, and priorities stay as they are."""
    mode = (_FAIR if settings.fair_turns else 0) | (_AGEING if settings.priority_ageing else 0)
    packed = b""
    for limit in settings.limits:
        mode |= _LIMITED
        if limit.scope is LimitScope.KEY:
            mode |= _KEYED | (_ORDERED if limit.max_active == 1 else 0)
        if limit.on_full is not OnFull.WAIT:
            mode |= _CANCELS
        name, type_, rate = limit.name.encode(), limit.type.encode(), limit.rate
        packed += bytes((len(name),)) + name + bytes((limit.scope, limit.on_full, len(type_))) + type_
        jobs, per, burst = (0, 0, 0) if rate is None else (rate.jobs, to_ms(rate.per), rate.burst)
        packed += _NUMBERS.pack(limit.max_active or 0, jobs, per.to_bytes(6, "big"), burst)
    return bytes((mode,)) + packed if mode else b""


async def as_of_now(found: Sequence[QueueSettings], ask_time: Callable[[], Awaitable[datetime]]) -> list[QueueSettings]:
    """Settings that were read, as they are now: a pause whose time is over is none. The store is asked for its time
    only where one of them ends by itself."""
    if not any(settings.pause_until for settings in found):
        return list(found)
    now = await ask_time()
    return [settings.as_of(now) for settings in found]
