"""May this store be used, and what does it promise."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis, RedisCluster
from redis.asyncio.cluster import ClusterNode
from redis.exceptions import RedisError, ResponseError

from tocsin_server.store.interface import Durability, StoreInfo, StoreUnfit
from tocsin_server.store.redis.connection.connection import RedisConnection

OLDEST_REDIS = (7, 0)
OLDEST_VALKEY = (7, 2)

# Worst first: a cluster is as durable as its least durable node.
_WORST_FIRST = (Durability.UNKNOWN, Durability.NONE, Durability.EVERY_SECOND, Durability.EACH_WRITE)


@dataclass(frozen=True, slots=True)
class _Node:
    """What one server says of itself."""

    version: str
    durability: Durability
    warnings: tuple[str, ...]
    unfit: str = ""  # why it must not be used
    silent: bool = False  # of a cluster, and does not answer


async def check(connection: RedisConnection, *, embedded: bool = False) -> tuple[StoreInfo, list[str]]:
    """What the store is, and warnings of one line each. StoreUnfit where it must not be used; StoreAway.

    In a cluster every primary is asked; one that does not answer, while another does, is warned of.
    """
    nodes = await connection.run(lambda: _ask_all(connection.client), read_only=True)
    for node in nodes:
        if node.unfit:
            raise StoreUnfit(node.unfit)
    return _info(nodes, embedded), _lines(nodes)


async def look(connection: RedisConnection, *, embedded: bool) -> tuple[StoreInfo, list[str]]:
    """The same of a store in use: what would make it unfit at boot is one of the lines. Nodes of a cluster that do not
    answer do not count. StoreAway."""
    found = await connection.run(lambda: _ask_all(connection.client), read_only=True)
    nodes = [node for node in found if not node.silent]
    return _info(nodes, embedded), [*dict.fromkeys(node.unfit for node in nodes if node.unfit), *_lines(nodes)]


def _info(nodes: Sequence[_Node], embedded: bool) -> StoreInfo:
    worst = min(nodes, key=lambda node: _WORST_FIRST.index(node.durability))
    return StoreInfo("redis", worst.version, worst.durability, embedded)


def _lines(nodes: Sequence[_Node]) -> list[str]:
    return list(dict.fromkeys(warning for node in nodes for warning in node.warnings))


async def _ask_all(client: Redis | RedisCluster) -> list[_Node]:
    if not isinstance(client, RedisCluster):
        return [await _ask(client)]
    await client.initialize()
    primaries = client.get_primaries()
    answers = await asyncio.gather(*map(_ask, primaries), return_exceptions=True)
    told = [answer for answer in answers if isinstance(answer, _Node)]
    nodes = []
    for primary, answer in zip(primaries, answers, strict=True):
        if isinstance(answer, _Node):
            nodes.append(answer)
        elif not isinstance(answer, (RedisError, OSError)) or not told:
            raise answer
        else:
            warning = (
                f"the cluster's node {primary.name} does not answer: its memory policy and durability are not known"
            )
            nodes.append(_Node(told[0].version, Durability.UNKNOWN, (warning,), silent=True))
    return nodes


async def _ask(server: Redis | ClusterNode) -> _Node:
    info = await _answer(server, "INFO")
    if info is None:
        return _Node(
            "redis (version not told)",
            Durability.UNKNOWN,
            ("the store forbids INFO: its version, memory policy and durability could not be checked",),
        )
    version = _checked_version(info)
    if (mode := info.get("redis_mode")) == "sentinel":
        raise StoreUnfit("the store's address is that of a sentinel: write redis+sentinel://host:port/service")
    if mode == "cluster" and isinstance(server, Redis):
        raise StoreUnfit("the store is a node of a cluster: its address must begin with redis+cluster://")
    unfit = ""
    if info.get("role") == "slave":
        unfit = "the store is a read-only replica: name its primary, or its sentinels (redis+sentinel://...)"

    config = await _answer(server, "CONFIG GET", "append*")
    policy = str(info.get("maxmemory_policy", ""))
    if policy and policy != "noeviction":
        unfit = unfit or (
            f"the store may evict jobs (maxmemory-policy {policy}): "
            "set maxmemory-policy noeviction in its configuration"
        )
    warnings = []
    if not policy:
        warnings.append("the store does not tell its maxmemory-policy: make sure that it is noeviction")
    durability, warning = _durability(info, config)
    if warning:
        warnings.append(warning)
    return _Node(version, durability, tuple(warnings), unfit)


async def _answer(server: Redis | ClusterNode, *command: str) -> Mapping[str, Any] | None:
    """What INFO or CONFIG GET says; None where this user may not ask, or the command was taken away."""
    try:
        answer: Mapping[str | bytes, Any] = await server.execute_command(*command)
    except ResponseError:
        return None
    return {_text(name): _text(value) if isinstance(value, bytes) else value for name, value in answer.items()}


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


def _checked_version(info: Mapping[str, Any]) -> str:
    # Valkey tells Redis clients 7.2.4, and its own version beside it.
    product, told, oldest = "redis", str(info.get("redis_version", "")), OLDEST_REDIS
    if "valkey_version" in info:
        product, told, oldest = "valkey", str(info["valkey_version"]), OLDEST_VALKEY
    numbers = tuple(int(number) for number in re.findall(r"\d+", told)[:2])
    if numbers < oldest:
        raise StoreUnfit(
            f"the store is {product} {told or '(no version told)'}: "
            "Tocsin needs Redis 7.0 or Valkey 7.2 at least, upgrade it"
        )
    return f"{product} {told}"


def _durability(info: Mapping[str, Any], config: Mapping[str, Any] | None) -> tuple[Durability, str]:
    """The durability in force, and a warning or "".

    Snapshots (`save`) alone count as none: they lose what was acknowledged since the last one, minutes of jobs.
    So does an append-only file that is synced whenever the system likes (`appendfsync no`).
    """
    if not int(info.get("aof_enabled", 0)):
        return (
            Durability.NONE,
            "the store keeps no append-only file, so a crash of it loses acknowledged jobs: "
            "set appendonly yes in its configuration",
        )
    fsync = (config or {}).get("appendfsync")
    if fsync == "always":
        return Durability.EACH_WRITE, ""
    if fsync == "everysec":
        return Durability.EVERY_SECOND, ""
    if fsync == "no":
        return (
            Durability.NONE,
            "the store leaves the syncing of its append-only file to the system, so a power cut loses acknowledged "
            "jobs: set appendfsync everysec or always in its configuration",
        )
    return (
        Durability.UNKNOWN,
        "the store keeps an append-only file but forbids CONFIG GET: how often it is synced is not known",
    )
