"""Sends over channels, and remembers over attempts who was reached."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Sequence

from google.protobuf.message import Message
from tocsin.worker.context import JobContext
from tocsin.worker.errors import DoNotRetry, RetryLater

from tocsin_server.domain.job import View
from tocsin_server.handlers.server_loop import ServerLoop
from tocsin_server.messages.delivery import Channel, deliver
from tocsin_server.messages.errors import NotAllSent, Refused
from tocsin_server.messages.mark import reached_before
from tocsin_server.store.interface import JobStore


class Memory:
    """Remembers the errors of earlier attempts: asks the store, from the second attempt on."""

    def __init__(self, store: JobStore, loop: ServerLoop) -> None:
        self._store = store
        self._loop = loop

    async def errors(self, job: JobContext) -> Sequence[str]:
        """Messages of the errors of earlier attempts that are kept (the first and the last 9), the oldest first.

        StoreAway where the store does not answer.
        """
        if job.attempt == 1:
            return ()
        [found] = await self._loop.run(lambda: self._store.get(job.queue, [job.job_id], View.BASIC))
        return () if found is None else [error.message for error in found.errors]


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
        """Send to all whom no earlier attempt with this payload reached. Returns as `deliver`.

        `begin` is asked last of all before anything is sent; None where it says no. RetryLater or NotAllSent where a
        later attempt may reach more, DoNotRetry where none will.
        """
        digest = hashlib.sha256(payload.SerializeToString(deterministic=True)).hexdigest()[:8]
        total = sum(len(channel.addresses) for channel in channels)
        before = reached_before(await self._memory.errors(job), total, digest)
        if not await begin():
            return None
        # The cause is theirs: in the trace that the job keeps, one error for another would be noise.
        try:
            return await deliver(channels, before, digest)
        except Refused as error:
            raise DoNotRetry(str(error)) from error.__cause__
        except NotAllSent as error:
            if error.retry_in is None:
                raise
            raise RetryLater(error.retry_in, str(error)) from error.__cause__
