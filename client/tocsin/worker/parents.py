"""The jobs that an attempt's job waited for, as its handler reads them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future
from typing import TypeAlias, overload

from tocsin.enums import View
from tocsin.jobs import Job
from tocsin.v1 import job_pb2
from tocsin.worker.source import LeasedJob

#: Asks for those of a job: serialized tocsin.v1.Job, None in the place of one that is gone.
AskParents: TypeAlias = Callable[[LeasedJob], "Future[Sequence[bytes | None]]"]


class Parents(Sequence[Job | None]):
    """Asked for when they are first looked at. An `async def` awaits it and has a list; a plain `def` reads it as the
    sequence that it is, and waits meanwhile."""

    def __init__(self, ask: AskParents, job: LeasedJob) -> None:
        self._ask = ask
        self._job = job
        self._jobs: list[Job | None] | None = None

    def __await__(self) -> Generator[object, None, list[Job | None]]:
        return self._awaited().__await__()

    async def _awaited(self) -> list[Job | None]:
        if self._jobs is None:
            self._jobs = _read(await asyncio.wrap_future(self._ask(self._job)))
        return self._jobs

    def __len__(self) -> int:
        return len(self._waited())

    @overload
    def __getitem__(self, at: int) -> Job | None: ...

    @overload
    def __getitem__(self, at: slice) -> Sequence[Job | None]: ...

    def __getitem__(self, at: int | slice) -> Job | Sequence[Job | None] | None:
        return self._waited()[at]

    def _waited(self) -> list[Job | None]:
        if self._jobs is None:
            if _on_a_loop():  # which could be the one that answers
                raise RuntimeError("in an `async def` the parents are awaited: `await job.parents()`")
            self._jobs = _read(self._ask(self._job).result())
        return self._jobs


def no_parents(_: LeasedJob) -> Future[Sequence[bytes | None]]:
    """Of a job that waited for none."""
    answer: Future[Sequence[bytes | None]] = Future()
    answer.set_result(())
    return answer


def _read(raw: Sequence[bytes | None]) -> list[Job | None]:
    return [None if one is None else Job(job_pb2.Job.FromString(one), View.FULL) for one in raw]


def _on_a_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
