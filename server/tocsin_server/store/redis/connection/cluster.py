"""redis-py's cluster client, changed so that one node's trouble stays that node's.

As it comes, a node that fails makes every caller wait until the map of slots is learned anew, which may be from the
very node that hangs; where that node has the first slots, learning it and finding keys fail altogether; and CLUSTERDOWN
closes connections on which others wait for answers. Here the map is learned anew beside the commands, which go on by
the old one meanwhile: a slot that has moved is told by MOVED, and a command to a dead node fails by itself. Where
commands have their keys is known here, and no node is asked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Self

from redis.asyncio import RedisCluster
from redis.asyncio.cluster import ClusterNode
from redis.exceptions import RedisClusterException, RedisError

#: Between two learnings of the map, in seconds: one costs some milliseconds of this process.
_LEARN_EVERY = 0.5


class Cluster(RedisCluster):
    """Commands go to the node that has their key. Close it with `shut`."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._known = False
        self._first = asyncio.Lock()
        self._learning: asyncio.Task[None] | None = None

    async def initialize(self, *_: Any, **__: Any) -> Self:
        """Learn the map where none is known; else see to it that it is learned anew where that is wanted."""
        if not self._known:
            async with self._first:
                if not self._known:
                    await self._learn()
                    self._known, self._initialize = True, False
        elif self._initialize:
            self._initialize = False
            if self._learning is None or self._learning.done():
                self._learning = asyncio.create_task(self._learn_anew(), name="cluster_map")
        return self

    async def aclose(self) -> None:
        """What redis-py calls when it doubts the map. Others have commands under way: nothing is closed."""
        self._initialize = True

    async def shut(self) -> None:
        """Close all connections."""
        if self._learning is not None:
            self._learning.cancel()
            await asyncio.wait({self._learning})
        self._known, self._initialize = False, True
        await self._disconnect()

    def name_of_node(self, key: bytes | str) -> str:
        """Name of the node that has a key; "" where that is not known yet."""
        nodes = self.nodes_manager.slots_cache.get(self.keyslot(key))
        return nodes[0].name if nodes else ""

    async def node_of(self, key: bytes | str) -> ClusterNode:
        """The node that has a key, for a command that has none."""
        await self.initialize()
        return self.primary_of(key)

    def primary_of(self, key: bytes | str) -> ClusterNode:
        """The same by the map as it is known."""
        node = self.get_node_from_key(key)  # type: ignore[arg-type]  # annotated as text, it takes bytes too
        if node is None:  # never but where a replica is asked for
            raise RedisClusterException(f"no node of the cluster has the slot of {key!r}")
        return node

    async def _learn(self) -> None:
        try:
            await self.nodes_manager.initialize()
        except BaseException:
            await self._disconnect()
            raise

    async def _determine_slot(self, command: str, *args: Any) -> int:
        # redis-py asks one node where commands have their keys, of XREAD each time; if that node hangs, all hang.
        at = 2 if command in ("EVALSHA", "EVAL") else args.index("STREAMS") + 1 if command == "XREAD" else 0
        return self.keyslot(args[at])

    async def _learn_anew(self) -> None:
        try:
            await self.nodes_manager.initialize()
        except (RedisError, RedisClusterException, OSError):
            self._initialize = True
        await asyncio.sleep(_LEARN_EVERY)

    async def _disconnect(self) -> None:
        await self.nodes_manager.aclose("startup_nodes")
        await self.nodes_manager.aclose()


class NodeReads:
    """Reads keys of many nodes, and waits for none that hangs."""

    def __init__(self, client: Cluster, patience: float) -> None:
        self._client = client
        self._patience = patience
        self._late: dict[str, asyncio.Task[Any]] = {}  # by node: what it has not answered yet

    async def get(self, keys: Sequence[str]) -> Mapping[str, bytes | None]:
        """GET of each key; those of nodes that fail, or do not answer within `patience` seconds, are missing, and so is
        a key whose slot is on its way to another node. While an answer is late its node is not asked again. Raises the
        first failure where nothing is answered at all."""
        await self._client.initialize()
        by_node: dict[ClusterNode, list[str]] = {}
        for key in keys:
            by_node.setdefault(self._client.primary_of(key), []).append(key)
        tasks = {
            asyncio.create_task(self._read(asked)): (node.name, asked)
            for node, asked in by_node.items()
            if node.name not in self._late
        }
        done: set[asyncio.Task[Any]] = set()
        if tasks:
            done, late = await asyncio.wait(tasks, timeout=self._patience)
            for task in late:
                self._wait_on(task, tasks[task][0])
        found: dict[str, bytes | None] = {}
        failures: list[BaseException] = []
        for task in done:
            if failure := task.exception():
                failures.append(failure)
                continue
            for key, answer in zip(tasks[task][1], task.result(), strict=True):
                if isinstance(answer, Exception):
                    failures.append(answer)
                else:
                    found[key] = answer
        if not found and keys:
            raise failures[0] if failures else TimeoutError("no node of the cluster answers")
        return found

    async def close(self) -> None:
        """Wait for what is late."""
        while self._late:
            await asyncio.wait(self._late.values())

    def _wait_on(self, task: asyncio.Task[Any], node: str) -> None:
        def answered(_: asyncio.Task[Any]) -> None:
            self._late.pop(node, None)
            task.cancelled() or task.exception()  # seen

        self._late[node] = task
        task.add_done_callback(answered)

    async def _read(self, keys: Sequence[str]) -> list[bytes | Exception | None]:
        pipe = self._client.pipeline()
        for key in keys:
            pipe.get(key)
        answers: list[bytes | Exception | None] = await pipe.execute(raise_on_error=False)
        return answers
