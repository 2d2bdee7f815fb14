"""Notes: a string each, 8 bytes of its revision and then its value, which expires by itself.

A queue's notes are in no index: they are written on the way of each reminder, and all of them are wanted only when a
store is moved. Then the names of all keys of the server (in a cluster, of the queue's node) are looked through.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from tocsin_server.domain.times import time_to_ms, to_time
from tocsin_server.store.interface import Note, StoredNote
from tocsin_server.store.redis.connection.connection import RedisConnection
from tocsin_server.store.redis.keys import Keys
from tocsin_server.store.redis.scripts import Scripts

_REVISION = 8  # bytes
_NAMES_A_SCAN = 1_000  # looked at a command: under 1 ms of Redis
_NOTES_A_CALL = 50  # of a few KiB each


class Notes:
    """All queues' notes."""

    def __init__(
        self, connection: RedisConnection, scripts: Scripts, keys: Keys, *, expire_by_themselves: bool = True
    ) -> None:
        self._connection = connection
        self._scripts = scripts
        self._keys = keys
        self._expire_by_themselves = expire_by_themselves  # not by a clock that is moved by hand

    async def read(self, queue: str, key: str) -> Note | None:
        """As JobStore.read_note."""
        if not self._expire_by_themselves:
            [answer] = await self._scripts.run("notes", self._keys.root(queue), key)
            return _note(answer[0]) if answer else None
        found = await self._connection.execute("GET", self._keys.note(queue, key), read_only=True)
        return None if found is None else _note(found)

    async def write(self, queue: str, key: str, value: bytes, *, revision: int, until: datetime) -> bool:
        """As JobStore.write_note."""
        root = self._keys.root(queue)
        return bool(await self._scripts.run("write_note", root, key, revision, time_to_ms(until), value))

    async def after(self, queue: str, after: str, limit: int) -> list[StoredNote]:
        """As JobStore.notes."""
        names = await self._names(queue, after.encode())
        found: list[StoredNote] = []
        # Some may have gone since their names were seen: then the next ones take their places.
        for start in range(0, len(names), _NOTES_A_CALL):
            found += await self._read_all(queue, names[start : start + _NOTES_A_CALL])
            if len(found) >= limit:
                break
        return found[:limit]

    async def _names(self, queue: str, after: bytes) -> Sequence[bytes]:
        """Keys of the queue's notes beyond one, sorted; their bytes sort as their code points do."""
        prefix = self._keys.note(queue, "").encode()
        names: set[bytes] = set()  # SCAN may name a key twice
        async for found in self._connection.scan(prefix.decode() + "*", _NAMES_A_SCAN, about=prefix):
            names.update(name[len(prefix) :] for name in found)
        return sorted(name for name in names if name > after)

    async def _read_all(self, queue: str, names: Sequence[bytes]) -> list[StoredNote]:
        answers: Sequence[Any] = await self._scripts.run("notes", self._keys.root(queue), *names)
        notes = []
        for name, answer in zip(names, answers, strict=True):
            if answer:
                value, until_ms = answer
                note = _note(value)
                notes.append(StoredNote(name.decode(), note.value, note.revision, to_time(until_ms)))
        return notes


def _note(stored: bytes) -> Note:
    return Note(stored[_REVISION:], int.from_bytes(stored[:_REVISION], "big"))
