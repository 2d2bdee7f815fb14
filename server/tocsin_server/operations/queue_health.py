"""Whether a queue does its work, and if not, why not."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from tocsin_server.domain.queues import QueueFigures, QueueSettings, WorkerFigures
from tocsin_server.domain.states import State
from tocsin_server.store.interface import JobStore

#: Due jobs older than this are worth a warning; a queue in which nothing else moves either is not healthy then.
LATE = timedelta(minutes=1)

_TYPES_NAMED = 10


@dataclass(frozen=True, slots=True)
class QueueHealth:
    """How a queue is. `error` says what is wrong and what to do; empty: due jobs are being run, or there are none."""

    error: str
    warnings: tuple[str, ...]
    figures: QueueFigures
    paused: bool
    oldest_waiting_age: timedelta | None
    workers: tuple[WorkerFigures, ...]
    unserved_types: tuple[str, ...]

    @property
    def lag(self) -> timedelta:
        """How late due jobs start at present."""
        return self.oldest_waiting_age or timedelta(0)


async def queue_health(store: JobStore, queue: str) -> QueueHealth:
    """Read a queue's figures and judge them. Cost O(types · states + workers)."""
    figures = await store.figures(queue)
    [settings] = await store.settings([queue])
    workers = [w for w in await store.workers() if not w.queues or queue in w.queues]
    return judged(figures, settings, workers)


def judged(figures: QueueFigures, settings: QueueSettings, workers: Sequence[WorkerFigures]) -> QueueHealth:
    """The judgement; `workers` are those that serve this queue."""
    age = max(figures.now - figures.oldest_waiting, timedelta(0)) if figures.oldest_waiting else None
    served = {type_ for worker in workers for type_ in worker.types}
    unserved = _unserved(figures, State.WAITING, served)
    return QueueHealth(
        error=_error(figures, settings, workers, age, unserved),
        warnings=tuple(_warnings(figures, settings, workers, age, _unserved(figures, State.SCHEDULED, served))),
        figures=figures,
        paused=settings.paused,
        oldest_waiting_age=age,
        workers=tuple(workers),
        unserved_types=unserved,
    )


def _unserved(figures: QueueFigures, state: State, served: Collection[str]) -> tuple[str, ...]:
    """Types with jobs in a state that no process runs."""
    return tuple(sorted(t for t, n in figures.counts.get(state, {}).items() if n and t not in served))


def _error(
    figures: QueueFigures,
    settings: QueueSettings,
    workers: Sequence[WorkerFigures],
    age: timedelta | None,
    unserved: Sequence[str],
) -> str:
    waiting = figures.total(State.WAITING)
    if not waiting:
        return ""
    if settings.paused:
        reason = f" ({settings.pause_reason})" if settings.pause_reason else ""
        return f"the queue is paused{reason} and {waiting:,} due jobs wait: resume it"
    if unserved:
        return f"no process runs jobs of type {_some(unserved)}: start a server or a worker with a handler for it"
    moving = figures.completed_per_second or figures.failed_per_second or figures.total(State.ACTIVE)
    if age is not None and age > LATE and not moving:
        slots = sum(w.slots - w.busy - w.abandoned for w in workers)
        return (
            f"{waiting:,} jobs are due, the oldest for {_words(age)}, and none is being run, though {len(workers):,} "
            f"processes with {max(slots, 0):,} free slots say that they would: look at their logs"
        )
    return ""


def _some(types: Sequence[str]) -> str:
    more = f" and {len(types) - _TYPES_NAMED:,} more" if len(types) > _TYPES_NAMED else ""
    return f"{', '.join(types[:_TYPES_NAMED])}{more}"


def _warnings(
    figures: QueueFigures,
    settings: QueueSettings,
    workers: Sequence[WorkerFigures],
    age: timedelta | None,
    unserved_later: Sequence[str],
) -> Iterable[str]:
    if settings.paused:
        yield "paused" + (f": {settings.pause_reason}" if settings.pause_reason else "")
    if age is not None and age > LATE:
        yield f"due jobs start late: the oldest waits for {_words(age)}; more slots or processes help"
    if not workers and not figures.total(State.WAITING):
        yield "no process runs jobs of this queue"
    elif unserved_later:
        yield f"jobs of type {_some(unserved_later)} are scheduled, and no process would run them at present"
    for worker in workers:
        if worker.abandoned:
            yield f"{worker.worker}: {worker.abandoned:,} handlers were told to stop and did not; each holds a slot"
    yield from dict.fromkeys(warning for worker in workers for warning in worker.warnings)


def _words(age: timedelta) -> str:
    return str(timedelta(seconds=int(age.total_seconds())))
