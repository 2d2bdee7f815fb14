"""The order in which jobs begin, also of a queue whose jobs gain a priority for each `step` that they wait: of two that
one goes first whose due time - priority * step is the lesser. As all of them age alike that never changes while they
wait, and within one priority it is the order of the index of claims: so the first of each priority are read by it, a
query or two each, and merged here. `step` is in ms; None: priorities stay as they are."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar

from tocsin_server.domain.times import time_to_ms
from tocsin_server.store.mongo.documents import Document

T = TypeVar("T")
#: The lesser goes first.
Rank = tuple[int, datetime, int]
#: Asks for the first jobs of a condition by priority, due time and arrival, so many at most.
Ask = Callable[[Document, int], Awaitable[Sequence[T]]]
#: Priorities of one type, or of a key, that age: more would make a claim dear. As on Redis (lib/levels.lua).
LEVELS = 250
#: An index is walked once a type, side by side, in the order of all; of more a mongod would sort all that match.
TYPES_A_QUERY = 100


def rank(document: Mapping[str, Any], step: int | None) -> Rank:
    """Where a job stands in the order."""
    due, arrival = document["due"], int(document["arrival"])
    if step is None:
        return -document["priority"], due, arrival
    return time_to_ms(due) - document["priority"] * step, due, arrival


def step_of(head: Mapping[str, Any] | None) -> int | None:
    """What a queue's document says."""
    return int(head["ageing"]) if head is not None and "ageing" in head else None


async def first_of_levels(
    ask: Ask[T], of: Callable[[T], Mapping[str, Any]], condition: Mapping[str, Any], most: int, step: int
) -> list[T]:
    """The first `most` jobs of a condition, which names one type; `of` says a job's document."""
    found: list[T] = []
    levels: set[int] = set()
    left: Document = {}
    while len(levels) < LEVELS:
        asked = await ask({**condition, **left}, most)
        whole = len(asked) < most
        if not whole:
            # Of the last priority not all that could be needed may be among them: it is read from its first job on.
            last = of(asked[-1])["priority"]
            cut = of(asked[0])["priority"] != last
            left = {"priority": {"$lte" if cut else "$lt": last}}
            asked = [one for one in asked if not cut or of(one)["priority"] != last]
        found += asked
        levels.update(of(one)["priority"] for one in asked)
        if whole:
            break
    return sorted(found, key=lambda one: rank(of(one), step))[:most]


async def first_of_types(
    ask: Ask[T],
    of: Callable[[T], Mapping[str, Any]],
    condition: Mapping[str, Any],
    types: Mapping[str, int],
    limit: int,
    most: int,
    step: int,
) -> list[T]:
    """The first of these types, of each of which so many may be taken, and `limit` in all; `most` is more than that. Up
    to where one of them ends of which not all was read: what comes behind may not be the next."""
    names: Sequence[str] = sorted(types)
    if 1 < len(names) <= TYPES_A_QUERY:
        found = list(await ask({**condition, "type": {"$in": list(names)}}, most))
        if len(found) < most:  # that is all that waits
            return sorted(found, key=lambda one: rank(of(one), step))
    rows = await asyncio.gather(*(first_of_levels(ask, of, {**condition, "type": name}, most, step) for name in names))
    every = sorted((one for row in rows for one in row), key=lambda one: rank(of(one), step))
    ends = {name: rank(of(row[-1]), step) for name, row in zip(names, rows, strict=True) if len(row) == most}
    while True:
        horizon = min((ends[name] for name in names if name in ends), default=None)
        read = [one for one in every if horizon is None or rank(of(one), step) <= horizon]
        number = Counter(of(one)["type"] for one in read)
        if horizon is None or sum(min(many, types[name]) for name, many in number.items()) >= limit:
            return read
        names = [name for name in names if number[name] < types[name]]
