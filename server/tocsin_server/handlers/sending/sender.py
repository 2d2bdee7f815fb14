"""Sends over channels, and remembers over attempts who was reached."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Sequence

from google.protobuf.message import Message
from tocsin.worker.context import JobContext

from tocsin_server.handlers.sending.delivery import Channel, deliver
from tocsin_server.handlers.sending.mark import reached_before
from tocsin_server.handlers.sending.memory import Memory


async def _yes() -> bool:
    return True


class Sender:
    """What all job types that send to several people do alike."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory

    async def send(
        self,
        job: JobContext,
        payload: Message,
        channels: Sequence[Channel],
        begin: Callable[[], Awaitable[bool]] = _yes,
    ) -> dict[str, dict[str, object]] | None:
        """Send to all whom no earlier attempt with this payload reached. Returns and raises as `deliver`.

        `begin` is asked last of all before anything is sent; None where it says no.
        """
        digest = hashlib.sha256(payload.SerializeToString(deterministic=True)).hexdigest()[:8]
        total = sum(len(channel.addresses) for channel in channels)
        before = reached_before(await self._memory.errors(job), total, digest)
        return await deliver(channels, before, digest) if await begin() else None
