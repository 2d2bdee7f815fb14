"""The Redis that Bull or BullMQ writes to, asked by reading commands only, a bounded number of bytes at a time."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

from redis.exceptions import NoPermissionError, RedisError, ResponseError

from tocsin_server.domain.errors import StoreAway
from tocsin_server.migrate.systems.bull.json_text import TOO_LARGE, Unfit
from tocsin_server.migrate.systems.bull.record import FIELDS
from tocsin_server.migrate.systems.foreign import SourceAway
from tocsin_server.store.redis.connection.connection import RedisConnection

_IDS = 1_000  # read at once
_RECORDS = 200  # read at once, unless they are large
_BYTES = 4 << 20  # of data read at once
_LARGEST = 8 << 20  # of one job: whatever its text, it would not fit a job of 1 MiB

_FIELDS = tuple(name.encode() for name in FIELDS)  # once: redis-py would encode each of them again for each job

Id = tuple[bytes, float]  # an id, and its score: 0 in a list
Command = tuple[bytes | str | int, ...]


class WrongKind(Exception):
    """A key holds another kind of value than it should."""


class BullSource:
    """Reads keys. Raises SourceAway where the server does not answer, or does not let us read."""

    def __init__(self, connection: RedisConnection) -> None:
        self._connection = connection
        self._client: Any = connection.client  # of one server, or of a cluster: redis-py types them apart

    async def ask(self, commands: Sequence[Command]) -> list[Any]:
        """Their answers, in order; WrongKind, as a value, for a key of another kind."""
        if not commands:
            return []
        try:
            answers = await self._connection.run(lambda: self._piped(commands), read_only=True)
        except (StoreAway, RedisError) as error:
            raise away(error) from error
        return [self._answer(answer) for answer in answers]

    async def keys(self, pattern: bytes) -> AsyncIterator[bytes]:
        """All keys that match, some twice perhaps."""
        nodes: Sequence[Any] = (None,)
        if self._connection.cluster:
            await self.ask([("EXISTS", b"")])  # the map of nodes is learned with the first command
            nodes = self._client.get_primaries()
        for node in nodes:
            options = {} if node is None else {"target_nodes": node}
            cursor: Any = 0
            while True:
                command = ("SCAN", cursor, "MATCH", pattern, "COUNT", _IDS)
                cursor, found = await self._scanned(command, options)
                for key in found:
                    yield key
                if not cursor:
                    break

    async def listed(self, key: bytes) -> AsyncIterator[list[Id]]:
        """The ids of a list from its right end, which is the one that workers take from. WrongKind."""
        start = 0
        while ids := await self._some(("LRANGE", key, -start - _IDS, -start - 1)):
            yield [(job_id, 0.0) for job_id in reversed(ids)]
            start += len(ids)
            if len(ids) < _IDS:
                return

    async def ranked(self, key: bytes) -> AsyncIterator[list[Id]]:
        """The ids of a sorted set with their scores, lowest first. WrongKind."""
        start = 0
        while pairs := await self._some(("ZRANGE", key, start, start + _IDS - 1, "WITHSCORES")):
            yield [(job_id, float(score)) for job_id, score in zip(pairs[::2], pairs[1::2], strict=True)]
            start += len(pairs) // 2
            if len(pairs) < 2 * _IDS:
                return

    async def records(
        self, root: bytes, ids: Sequence[Id], large: Sequence[bytes]
    ) -> AsyncIterator[list[tuple[Id, Any]]]:
        """The values of FIELDS of each, or Unfit, or WrongKind; at most some megabytes at a time.

        large: fields whose size is asked before they are read.
        """
        for start in range(0, len(ids), _RECORDS):
            some = ids[start : start + _RECORDS]
            sizes = await self.ask([("HSTRLEN", root + job_id, field) for job_id, _ in some for field in large])
            batch: list[Id] = []
            total = 0
            for index, entry in enumerate(some):
                of_one = sizes[index * len(large) : (index + 1) * len(large)]
                size = sum(length for length in of_one if isinstance(length, int))
                if batch and total + size > _BYTES:
                    yield await self._read(root, batch)
                    batch, total = [], 0
                if size > _LARGEST:
                    yield [(entry, Unfit(TOO_LARGE))]
                    continue
                batch.append(entry)
                total += size
            if batch:
                yield await self._read(root, batch)

    async def _read(self, root: bytes, ids: Sequence[Id]) -> list[tuple[Id, Any]]:
        answers = await self.ask([("HMGET", root + job_id, *_FIELDS) for job_id, _ in ids])
        return list(zip(ids, answers, strict=True))

    async def _some(self, command: Command) -> list[bytes]:
        [answer] = await self.ask([command])
        if isinstance(answer, WrongKind):
            raise answer
        found: list[bytes] = answer
        return found

    async def _scanned(self, command: Command, options: dict[str, Any]) -> tuple[Any, list[bytes]]:
        try:
            answer = await self._connection.run(
                lambda: self._client.execute_command(*command, **options), read_only=True
            )
        except (StoreAway, RedisError) as error:
            raise away(error) from error
        cursor, found = answer
        if isinstance(cursor, dict):  # a cluster's, by node
            [cursor] = cursor.values()
        return int(cursor), found

    def _piped(self, commands: Sequence[Command]) -> Any:
        pipe = self._client.pipeline() if self._connection.cluster else self._client.pipeline(transaction=False)
        for command in commands:
            pipe.execute_command(*command)
        return pipe.execute(raise_on_error=False)

    @staticmethod
    def _answer(answer: Any) -> Any:
        if not isinstance(answer, Exception):
            return answer
        if isinstance(answer, ResponseError) and str(answer).startswith("WRONGTYPE"):
            return WrongKind(str(answer))
        raise away(answer) from answer


def away(error: Exception) -> SourceAway:
    """That the source cannot be read, in one line."""
    reason = error.__cause__ or error
    rights = ": give it the rights of docs/from-bull.md" if isinstance(reason, NoPermissionError) else ""
    return SourceAway(f"the source cannot be read: {reason}{rights}")
