"""What a job's start depends on, as stores keep it: a few fields that are short, of which most jobs have none.

On Redis they are a block of {B number, I2 length, value}, so that a script reads what it needs and passes over what it
does not know; as JSON, or as a document, they are a mapping of the fields that are not as usual.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from tocsin_server.domain.conditions import DEFAULT_WEIGHT, NO_CONDITIONS, Conditions

#: Numbers of fields, as in lua/lib/conditions.lua.
_LIMIT_KEY, _WEIGHT = 1, 2
_TRACEPARENT, _TRACESTATE = 9, 10


@lru_cache(maxsize=1024)
def conditions_bytes(conditions: Conditions) -> bytes:
    """The block, its length in two bytes before it."""
    fields = []
    if conditions.limit_key:
        fields.append((_LIMIT_KEY, conditions.limit_key.encode()))
    if conditions.weight != DEFAULT_WEIGHT:
        fields.append((_WEIGHT, bytes((conditions.weight,))))
    if conditions.traceparent:
        fields.append((_TRACEPARENT, conditions.traceparent.encode()))
    if conditions.tracestate:
        fields.append((_TRACESTATE, conditions.tracestate.encode()))
    block = b"".join(b"%c%b%b" % (number, len(value).to_bytes(2, "big"), value) for number, value in fields)
    return len(block).to_bytes(2, "big") + block


@lru_cache(maxsize=1024)
def conditions_in(block: bytes) -> Conditions:
    """What a block says, without its length."""
    found, at = {}, 0
    while at < len(block):
        end = at + 3 + int.from_bytes(block[at + 1 : at + 3], "big")
        found[block[at]] = block[at + 3 : end]
        at = end
    weight = found.get(_WEIGHT)
    return Conditions(
        limit_key=found.get(_LIMIT_KEY, b"").decode(),
        weight=weight[0] if weight else DEFAULT_WEIGHT,
        traceparent=found.get(_TRACEPARENT, b"").decode(),
        tracestate=found.get(_TRACESTATE, b"").decode(),
    )


def conditions_to_json(conditions: Conditions) -> dict[str, Any]:
    """The fields that are not as usual."""
    said: dict[str, Any] = {}
    if conditions.limit_key:
        said["limit_key"] = conditions.limit_key
    if conditions.weight != DEFAULT_WEIGHT:
        said["weight"] = conditions.weight
    if conditions.traceparent:
        said["traceparent"] = conditions.traceparent
    if conditions.tracestate:
        said["tracestate"] = conditions.tracestate
    return said


def conditions_of(said: Mapping[str, Any] | None) -> Conditions:
    """What such a mapping says; None: nothing."""
    if not said:
        return NO_CONDITIONS
    return Conditions(
        limit_key=said.get("limit_key", ""),
        weight=said.get("weight", DEFAULT_WEIGHT),
        traceparent=said.get("traceparent", ""),
        tracestate=said.get("tracestate", ""),
    )
