"""Which queues there are: told by the keys that every queue has some of."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from tocsin_server.migrate.systems.bull.source import BullSource

#: Keys of a queue, and what kind of value each holds. A job's key may end like one, but is a hash.
KINDS = {
    b"id": b"string",
    b"wait": b"list",
    b"paused": b"list",
    b"active": b"list",
    b"delayed": b"zset",
    b"prioritized": b"zset",
    b"waiting-children": b"zset",
    b"completed": b"zset",
    b"failed": b"zset",
    b"repeat": b"zset",
}
_OF_BULLMQ = (b"prioritized", b"waiting-children")
_LOOKED_AT = 500
_GLOB = re.compile(rb"([*?\[\]^\\-])")


@dataclass(frozen=True, slots=True)
class FoundQueue:
    """A queue that was found."""

    name: bytes
    root: bytes  # what its keys begin with
    by_bullmq: bool  # else by Bull


async def all_queues(source: BullSource, prefix: bytes) -> list[FoundQueue]:
    """The queues under a prefix, by name. Reads the name of every key under it once."""
    names: set[bytes] = set()
    looked_at: list[tuple[bytes, bytes, bytes]] = []
    async for key in source.keys(_GLOB.sub(rb"\\\1", prefix) + b":*"):
        name, colon, last = key[len(prefix) + 1 :].rpartition(b":")
        if colon and last in KINDS and name not in names:
            looked_at.append((key, name, last))
        if len(looked_at) == _LOOKED_AT:
            names |= await _queues_among(source, looked_at)
            looked_at = []
    names |= await _queues_among(source, looked_at)
    return [queue for queue in await queues_named(source, prefix, sorted(names)) if queue is not None]


async def _queues_among(source: BullSource, keys: Sequence[tuple[bytes, bytes, bytes]]) -> set[bytes]:
    kinds = await source.ask([("TYPE", key) for key, _, _ in keys])
    return {name for (_, name, last), kind in zip(keys, kinds, strict=True) if kind == KINDS[last]}


async def queues_named(source: BullSource, prefix: bytes, names: Sequence[bytes]) -> list[FoundQueue | None]:
    """The queues of these names; None where there is none."""
    found: list[FoundQueue | None] = []
    for name in names:
        root = prefix + b":" + name + b":"
        kinds = await source.ask([("TYPE", root + last) for last in KINDS])
        # A queue that BullMQ's FlowProducer alone has filled has no meta. These Bull has never had.
        [events, *sets] = await source.ask([("TYPE", root + last) for last in (b"events", *_OF_BULLMQ)])
        [marks] = await source.ask([("HMGET", root + b"meta", "version", "opts.maxLenEvents")])
        by_bullmq = isinstance(marks, list) and any(mark is not None for mark in marks)
        by_bullmq = by_bullmq or events == b"stream" or b"zset" in sets
        there = by_bullmq or any(kind != b"none" for kind in kinds)
        found.append(FoundQueue(name, root, by_bullmq) if there else None)
    return found
