"""What a job's start depends on, as stores keep it: a few fields that are short, of which most jobs have none.

On Redis they are a block of {B number, I2 length, value}, so that a script reads what it needs and passes over what it
does not know; as JSON, or as a document, they are a mapping of the fields that are not as usual. Times are
milliseconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

from tocsin_server.domain import limits
from tocsin_server.domain.conditions import DEFAULT_WEIGHT, NO_CONDITIONS, Collapse, CollapseMode, Conditions
from tocsin_server.domain.dependencies import DependsOn, JobRef, WhenParentFails
from tocsin_server.domain.times import time_to_ms, to_ms, to_time

#: Numbers of fields, as in lua/lib/conditions.lua.
_LIMIT_KEY, _WEIGHT, _COLLAPSE, _EXPIRE = 1, 2, 3, 4
_DEPENDS, _WATCHED, _ON_END = 5, 6, 7  # _WATCHED is the store's own
_TRACEPARENT, _TRACESTATE = 9, 10
_MOST_MS = to_ms(limits.LAST_TIME - limits.FIRST_TIME)


@lru_cache(maxsize=1024)
def conditions_bytes(conditions: Conditions) -> bytes:
    """The block, its length in two bytes before it."""
    fields = []
    if conditions.limit_key:
        fields.append((_LIMIT_KEY, conditions.limit_key.encode()))
    if conditions.weight != DEFAULT_WEIGHT:
        fields.append((_WEIGHT, bytes((conditions.weight,))))
    if (collapse := conditions.collapse) is not None:
        fields.append((_COLLAPSE, _collapse_bytes(collapse)))
    if (expire := conditions.expire) is not None:
        after = isinstance(expire, timedelta)
        fields.append((_EXPIRE, bytes((after,)) + _six_bytes(_expire_ms(expire))))
    if conditions.depends is not None:
        fields.append((_DEPENDS, _depends_bytes(conditions.depends)))
    if conditions.on_end is not None:
        fields.append((_ON_END, ref_bytes(conditions.on_end.queue, conditions.on_end.job_id)))
    if conditions.traceparent:
        fields.append((_TRACEPARENT, conditions.traceparent.encode()))
    if conditions.tracestate:
        fields.append((_TRACESTATE, conditions.tracestate.encode()))
    block = b"".join(b"%c%b%b" % (number, len(value).to_bytes(2, "big"), value) for number, value in fields)
    return len(block).to_bytes(2, "big") + block


@lru_cache(maxsize=1024)
def conditions_in(block: bytes) -> Conditions:
    """What a block says, without its length."""
    found = _fields(block)
    weight, collapse, expire = found.get(_WEIGHT), found.get(_COLLAPSE), found.get(_EXPIRE)
    depends, on_end = found.get(_DEPENDS), found.get(_ON_END)
    return Conditions(
        limit_key=found.get(_LIMIT_KEY, b"").decode(),
        weight=weight[0] if weight else DEFAULT_WEIGHT,
        traceparent=found.get(_TRACEPARENT, b"").decode(),
        tracestate=found.get(_TRACESTATE, b"").decode(),
        collapse=_collapse_in(collapse) if collapse else None,
        expire=_expire_of(_number(expire[1:]), after=bool(expire[0])) if expire else None,
        depends=_depends_of(depends[0], _number(depends[2:]), of_end=bool(depends[1])) if depends else None,
        on_end=ref_in(on_end) if on_end else None,
    )


@lru_cache(maxsize=1024)
def watched_in(block: bytes) -> bool:
    """Whether a block says that others wait for the job's end."""
    return _WATCHED in _fields(block)


def _fields(block: bytes) -> dict[int, bytes]:
    found, at = {}, 0
    while at < len(block):
        end = at + 3 + int.from_bytes(block[at + 1 : at + 3], "big")
        found[block[at]] = block[at + 3 : end]
        at = end
    return found


def ref_bytes(queue: str, job_id: str) -> bytes:
    """Names a job, as Redis keeps it: B length, queue, id."""
    name = queue.encode()
    return bytes((len(name),)) + name + job_id.encode()


def ref_in(packed: bytes) -> JobRef:
    """The job that is named so."""
    end = 1 + packed[0]
    return JobRef(packed[1:end].decode(), packed[end:].decode())


def _depends_bytes(depends: DependsOn) -> bytes:
    """B when_parent_fails, B of_end, I6 block_timeout (0: none)."""
    longest = 0 if depends.block_timeout is None else to_ms(depends.block_timeout)
    return bytes((depends.when_parent_fails, depends.of_end)) + _six_bytes(longest)


def _depends_of(rule: int, longest: int, *, of_end: bool) -> DependsOn:
    return DependsOn(WhenParentFails(rule), _span(longest) if longest else None, of_end)


def _collapse_bytes(collapse: Collapse) -> bytes:
    """B mode, I6 window, I6 max_wait (0: none), key."""
    longest = 0 if collapse.max_wait is None else to_ms(collapse.max_wait)
    return bytes((collapse.mode,)) + _six_bytes(to_ms(collapse.window)) + _six_bytes(longest) + collapse.key.encode()


def _collapse_in(value: bytes) -> Collapse:
    return _collapse_of(value[13:].decode(), value[0], _number(value[1:7]), _number(value[7:13]))


def _collapse_of(key: str, mode: int, window: int, max_wait: int) -> Collapse:
    return Collapse(key, CollapseMode(mode), _span(window), _span(max_wait) if max_wait else None)


def _expire_ms(expire: datetime | timedelta) -> int:
    return to_ms(expire) if isinstance(expire, timedelta) else time_to_ms(expire)


def _expire_of(ms: int, *, after: bool) -> datetime | timedelta:
    return _span(ms) if after else to_time(ms)


def _six_bytes(number: int) -> bytes:
    return min(number, _MOST_MS).to_bytes(6, "big")


def _number(six: bytes) -> int:
    return int.from_bytes(six, "big")


def _span(ms: int) -> timedelta:
    return timedelta(milliseconds=ms)


def conditions_to_json(conditions: Conditions) -> dict[str, Any]:
    """The fields that are not as usual."""
    said: dict[str, Any] = {}
    if conditions.limit_key:
        said["limit_key"] = conditions.limit_key
    if conditions.weight != DEFAULT_WEIGHT:
        said["weight"] = conditions.weight
    if (collapse := conditions.collapse) is not None:
        said["collapse"] = {"key": collapse.key, "mode": int(collapse.mode), "window": to_ms(collapse.window)}
        if collapse.max_wait is not None:
            said["collapse"]["max_wait"] = to_ms(collapse.max_wait)
    if (expire := conditions.expire) is not None:
        said["expire_after" if isinstance(expire, timedelta) else "expire_at"] = _expire_ms(expire)
    if (depends := conditions.depends) is not None:
        said["depends"] = {"when_parent_fails": int(depends.when_parent_fails)}
        if depends.block_timeout is not None:
            said["depends"]["block_timeout"] = to_ms(depends.block_timeout)
        if depends.of_end:
            said["depends"]["of_end"] = True
    if conditions.on_end is not None:
        said["on_end"] = {"queue": conditions.on_end.queue, "id": conditions.on_end.job_id}
    if conditions.traceparent:
        said["traceparent"] = conditions.traceparent
    if conditions.tracestate:
        said["tracestate"] = conditions.tracestate
    return said


def conditions_of(said: Mapping[str, Any] | None) -> Conditions:
    """What such a mapping says; None: nothing."""
    if not said:
        return NO_CONDITIONS
    expire, collapse = None, said.get("collapse")
    for name in ("expire_at", "expire_after"):
        if name in said:
            expire = _expire_of(int(said[name]), after=name == "expire_after")
    if collapse is not None:
        window, max_wait = int(collapse["window"]), int(collapse.get("max_wait", 0))
        collapse = _collapse_of(collapse["key"], collapse["mode"], window, max_wait)
    if (depends := said.get("depends")) is not None:
        longest = int(depends.get("block_timeout", 0))
        depends = _depends_of(depends["when_parent_fails"], longest, of_end=depends.get("of_end", False))
    on_end = said.get("on_end")
    return Conditions(
        limit_key=said.get("limit_key", ""),
        weight=said.get("weight", DEFAULT_WEIGHT),
        traceparent=said.get("traceparent", ""),
        tracestate=said.get("tracestate", ""),
        collapse=collapse,
        expire=expire,
        depends=depends,
        on_end=None if on_end is None else JobRef(on_end["queue"], on_end["id"]),
    )
