"""What is sealed in Redis is sealed anew, and the store says by which key."""

from __future__ import annotations

from collections.abc import Sequence

from tocsin_server.domain.job import Job
from tocsin_server.store.batching import parts
from tocsin_server.store.redis.arguments import Arguments
from tocsin_server.store.redis.keys import Keys
from tocsin_server.store.redis.marker import Marker
from tocsin_server.store.redis.put import extras_of
from tocsin_server.store.redis.records import payload_bytes
from tocsin_server.store.redis.scripts import Scripts
from tocsin_server.store.sealed_store import Resealed, ResealedLine, SealedStore

_CALL_JOBS, _CALL_LINES, _CALL_BYTES = 50, 500, 1 << 20  # as all that holds Redis


class RedisSealed(SealedStore):
    """All queues' sealed values."""

    def __init__(self, scripts: Scripts, keys: Keys, marker: Marker) -> None:
        self._scripts = scripts
        self._keys = keys
        self._marker = marker

    async def key_id(self) -> str:
        return await self._marker.key_id()

    async def mark(self, key_id: str) -> None:
        await self._marker.mark(key_id)

    async def reseal(self, queue: str, jobs: Sequence[Resealed]) -> list[bool]:
        arguments = [_arguments(one.before, one.after) for one in jobs]
        answers: list[bool] = []
        for start, end in parts([sum(map(len, one)) for one in arguments], _CALL_JOBS, _CALL_BYTES):
            flat = [argument for one in arguments[start:end] for argument in one]
            answers += map(bool, await self._scripts.run("reseal", self._keys.root(queue), *flat))
        return answers

    async def reseal_lines(self, queue: str, job_id: str, arrival: int, lines: Sequence[ResealedLine]) -> int:
        texts = [(line.number, line.before.encode(), line.after.encode()) for line in lines]
        written = 0
        for start, end in parts([len(before) + len(after) for _, before, after in texts], _CALL_LINES, _CALL_BYTES):
            flat = [argument for line in texts[start:end] for argument in line]
            written += await self._scripts.run("reseal_lines", self._keys.root(queue), job_id, arrival, *flat)
        return written


def _arguments(before: Job, after: Job) -> Arguments:
    """Its id, and what differs, as reseal.lua reads it."""
    payload, extras = b"", b""
    if before.spec.payload != after.spec.payload:
        payload = _long(payload_bytes(before.spec.payload)) + payload_bytes(after.spec.payload)
    anew = dict(extras_of(after))
    for field, value in extras_of(before):
        if anew[field] != value:
            extras += field + _long(value) + _long(anew[field])
    return before.job_id.encode(), payload, extras


def _long(value: bytes) -> bytes:
    return len(value).to_bytes(4, "big") + value
