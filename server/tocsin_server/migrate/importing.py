"""What a reader of another system found, brought in: placed under its own id where none stands yet."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace

from tocsin_server.domain.errors import TocsinError
from tocsin_server.domain.job import Put
from tocsin_server.migrate.foreign import Foreign, ForeignQueue, Verdict
from tocsin_server.migrate.reading import anything
from tocsin_server.store.interface import JobStore

_PLACED, _BYTES = 200, 4 << 20  # at once: jobs, and bytes of their payloads


@dataclass(frozen=True, slots=True)
class Line:
    """What became of one thing. `stands`: a job of its id was here before, so nothing was done."""

    found: Foreign
    stands: bool = False


@dataclass(slots=True)
class Imported:
    """How many of what. Keys: queue, the source's state, verdict."""

    counts: Counter[tuple[str, str, Verdict]] = field(default_factory=Counter)
    placed: int = 0
    stood: int = 0

    @property
    def refused(self) -> int:
        """Things that could not be taken."""
        return sum(count for (_, _, verdict), count in self.counts.items() if verdict is Verdict.REFUSED)


async def bring_in(source: AsyncIterator[Foreign], target: JobStore | None, tell: Callable[[Line], None]) -> Imported:
    """Place what is to be taken, in the order in which it comes; `tell` hears of each thing. No target: a dry run.

    A job whose id stands here is left as it stands, so a second import changes nothing.
    """
    imported = Imported()
    batch: list[Foreign] = []
    size = 0
    async for found in source:
        if found.job is not None and target is not None:
            batch.append(found)
            size += len(found.job.spec.payload.body) if found.job.spec.payload is not None else 0
            if len(batch) == _PLACED or size >= _BYTES:
                await _place(batch, target, imported, tell)
                batch, size = [], 0
        else:
            _count(imported, Line(found), tell)
    if batch and target is not None:
        await _place(batch, target, imported, tell)
    return imported


async def pause_what_is_paused(source: ForeignQueue, target: JobStore) -> None:
    """Pause the queues that are paused in the source, before their first job comes. One that holds jobs is let be: who
    resumed it since an earlier import meant it."""
    for queue in await source.paused():
        [settings] = await target.settings([queue])
        if not settings.paused and not await anything(target, queue):
            reason = "it was paused where its jobs come from"
            await target.put_settings(queue, replace(settings, pause_reason=reason), paused=True)


async def _place(batch: list[Foreign], target: JobStore, imported: Imported, tell: Callable[[Line], None]) -> None:
    answers = await target.put([found.job for found in batch if found.job is not None], over=False)
    for found, answer in zip(batch, answers, strict=True):
        if isinstance(answer, TocsinError):
            refused = replace(found, verdict=Verdict.REFUSED, why=(str(answer),), job=None)
            _count(imported, Line(refused), tell)
            continue
        stands = answer is not Put.CREATED
        imported.placed += not stands
        imported.stood += stands
        _count(imported, Line(found, stands), tell)


def _count(imported: Imported, line: Line, tell: Callable[[Line], None]) -> None:
    found = line.found
    imported.counts[found.queue, found.source_state, found.verdict] += 1
    tell(line)
