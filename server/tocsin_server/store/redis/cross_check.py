"""Walks all keys of the namespace, some a step, and has each queue's held against its jobs' records (lua/check.lua).

By the names of keys, not by the queues' names: so a queue is found whose own name was lost. A pass costs about 1 ms of
Redis a thousand keys for their names, and 10 µs a job; on a healthy store nothing is written.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from typing import Any

from tocsin_server.domain.errors import StoreFull
from tocsin_server.store.interface import Checked
from tocsin_server.store.redis.connection.cluster import Cluster
from tocsin_server.store.redis.connection.connection import RedisConnection
from tocsin_server.store.redis.keys import Keys
from tocsin_server.store.redis.scripts import Scripts

_NAMES_A_SCAN = 200
_CALLS_A_STEP = 10  # of the script, each a millisecond or two at most
_KEYS_A_CALL = 50
#: Kinds of keys (lua/lib/keys.lua) that say nothing of jobs: rates, changes, minutes, notes, schedules. Ids, and the
#: heads of rows of keys, are seen with jobs.
_LEFT_OUT = b"mvobdyzugGtTpPR"


class CrossCheck:
    """JobStore.check. Goes on where its last step ended."""

    def __init__(self, connection: RedisConnection, scripts: Scripts, keys: Keys) -> None:
        self._connection = connection
        self._scripts = scripts
        self._keys = keys
        self._names: AsyncIterator[Sequence[bytes]] | None = None
        self._todo: deque[tuple[str, Sequence[bytes], int]] = deque()  # queue, suffixes, the place in the first

    async def step(self) -> Checked:
        """As JobStore.check."""
        mended: Counter[str] = Counter()
        if not self._todo:
            if self._names is None:
                self._names = self._scan()
            try:
                found = await anext(self._names)
            except StopAsyncIteration:
                self._names = None
                return Checked(mended, done=True)
            except BaseException:
                self._names = None  # a generator that raised is over
                raise
            self._take(found)
        queues = set()
        for _ in range(min(_CALLS_A_STEP, len(self._todo))):
            queue, suffixes, place = self._todo.popleft()
            arguments: list[bytes | int] = []
            for suffix in suffixes:
                arguments += (suffix, 0)
            arguments[1] = place
            stands, done, following, *said = await self._scripts.run("check", self._keys.root(queue), *arguments)
            mended.update({what.decode(): number for what, number in zip(said[::2], said[1::2], strict=True)})
            if stands:
                queues.add(queue)
            if done < len(suffixes):
                self._todo.appendleft((queue, suffixes[done:], following))
        if queues:
            with suppress(StoreFull):  # it refuses an SADD also where nothing would be added
                added = await self._connection.execute("SADD", self._keys.queues, *queues)
                mended["queues without a name"] += int(added)
        return Checked(+mended, done=False)

    def _take(self, found: Sequence[bytes]) -> None:
        by_queue: dict[str, list[bytes]] = {}
        begin = self._keys.root("").encode()[:-1]  # "namespace:{"
        for name in found:
            queue, brace, suffix = name[len(begin) :].partition(b"}:")
            if name.startswith(begin) and brace and suffix and suffix[:1] not in _LEFT_OUT:
                by_queue.setdefault(queue.decode(errors="replace"), []).append(suffix)
        for of_queue, suffixes in by_queue.items():
            for start in range(0, len(suffixes), _KEYS_A_CALL):
                self._todo.append((of_queue, suffixes[start : start + _KEYS_A_CALL], 0))

    async def _scan(self) -> AsyncIterator[Sequence[bytes]]:
        """Names of all keys, of each node of a cluster."""
        pattern = f"{_literal(self._keys.namespace)}:{{*"
        client = self._connection.client
        nodes: Sequence[Any] = [client]
        if isinstance(client, Cluster):
            await client.initialize()
            nodes = client.get_primaries()
        for node in nodes:
            cursor = 0
            while True:
                command = ("SCAN", cursor, "MATCH", pattern, "COUNT", _NAMES_A_SCAN)

                async def ask(node: Any = node, command: Sequence[Any] = command) -> Any:
                    return await node.execute_command(*command)

                cursor, names = await self._connection.run(ask, read_only=True)
                yield names
                if not cursor:
                    break


def _literal(text: str) -> str:
    """Text as a glob that matches it alone."""
    return "".join(f"\\{one}" if one in "*?[]^\\" else one for one in text)
