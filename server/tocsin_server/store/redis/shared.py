"""Shared limits in Redis: the book has a root of its own, in a cluster a slot of its own."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from tocsin_server.domain.lease import Claim
from tocsin_server.domain.times import time_to_ms, to_time
from tocsin_server.store.redis import replies
from tocsin_server.store.redis.arguments import claim_arguments
from tocsin_server.store.redis.claiming import NEEDS_GRANT as NEEDS
from tocsin_server.store.redis.claiming import REFUSED, Claiming
from tocsin_server.store.redis.connection.connection import RedisConnection
from tocsin_server.store.redis.keys import Keys
from tocsin_server.store.redis.queue_names import QueueNames
from tocsin_server.store.redis.scripts import Scripts
from tocsin_server.store.shared_book import Taken, Word
from tocsin_server.store.shared_limit_store import GRANT_REFUSED, NEEDS_GRANT, NoGrant, SharedPlaces

_CLAIMABLE_NOW = b"\x01" + bytes(6)  # lua/lib/tick.lua, publish(1, 0)


class RedisSharedPlaces(SharedPlaces):
    """Of all queues of a namespace."""

    def __init__(
        self, connection: RedisConnection, scripts: Scripts, keys: Keys, names: QueueNames, claiming: Claiming
    ) -> None:
        self._connection = connection
        self._scripts = scripts
        self._keys = keys
        self._names = names
        self._claiming = claiming

    async def read_shared(self) -> tuple[bytes | None, int, datetime]:
        now, revision, book = await self._scripts.run("read_shared", self._keys.shared)
        return book, int(revision or 0), to_time(now)

    async def swap_shared(self, book: bytes, revision: int) -> bool:
        return bool(await self._scripts.run("swap_shared", self._keys.shared, revision, book))

    async def tell_running(
        self,
        queue: str,
        *,
        version: int = 0,
        marked: bool | None = None,
        look_at: datetime | None = None,
        thorough: bool = False,
    ) -> Word:
        epoch = ""
        if marked:
            await self._names.admit(queue)
            epoch = secrets.token_hex(8)
        mark = "" if marked is None else int(marked)
        at = 0 if look_at is None else time_to_ms(look_at)
        *word, new = await self._scripts.run("tell_running", self._keys.root(queue), epoch, version, mark, at)
        if new:
            await self._names.made(queue)
        return _word(word)

    async def claim_granted(
        self,
        queue: str,
        types: Mapping[str, int],
        limit: int,
        *,
        lease: timedelta,
        request: bytes,
        repeated: bool,
        granted: Taken | None,
    ) -> tuple[Claim, Word | None] | NoGrant:
        asked = claim_arguments(types, limit, lease, request, repeated)
        if granted is None:
            answer = await self._claiming.claim(queue, *asked)
        else:
            answer = await self._claiming.claim_granted(queue, granted.version, *asked)
        if answer[1] == NEEDS:
            return NEEDS_GRANT
        if answer[1] == REFUSED:
            return GRANT_REFUSED
        return replies.claim(queue, answer[:3], request), _word(answer[3]) if len(answer) > 3 else None

    async def ring(self, queues: Sequence[str]) -> None:
        for queue in queues:
            await self._connection.execute("PUBLISH", self._keys.wake, _CLAIMABLE_NOW + queue.encode())


def _word(said: Sequence[Any]) -> Word:
    number, running, waits, floor = said
    return Word(int(number), int(running), bool(waits), int(floor or 0), marked=bool(floor))
