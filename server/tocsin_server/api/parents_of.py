"""What a handler that runs in this server reads of the jobs that its own waited for: the messages that callers get."""

from __future__ import annotations

from collections.abc import Sequence

from tocsin.v1 import job_pb2

from tocsin_server.api import wire
from tocsin_server.api.answers.job import fill
from tocsin_server.domain.job import View
from tocsin_server.store.interface import JobStore

_Job = wire.shadow(job_pb2.Job)


class ParentsOf:
    """Reads them from the store."""

    def __init__(self, store: JobStore) -> None:
        self._store = store

    async def __call__(self, queue: str, job_id: str) -> Sequence[bytes | None]:
        """Each a serialized tocsin.v1.Job in view FULL, in order; None in the place of one that is gone. Raises what
        the store raises."""
        if self._store.dependencies is None:
            return ()
        [parents] = await self._store.dependencies.parents(queue, [job_id])
        found: list[bytes | None] = []
        for parent in parents:  # one at a time: a result may have 256 KiB, and there may be a thousand
            [job] = await self._store.get(parent.queue, [parent.job_id], View.FULL)
            if job is None:
                found.append(None)
                continue
            fill(message := _Job(), job, View.FULL)
            found.append(message.SerializeToString())
        return found
