"""Whether a queue does its work, and if not, why not."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from tocsin_server.domain.errors import OutcomeUnknown, StoreAway
from tocsin_server.domain.http_requests import HTTP_REQUEST
from tocsin_server.domain.queues import QueueFigures, QueueSettings, WorkerFigures
from tocsin_server.domain.states import ENDED, State
from tocsin_server.domain.words import counted
from tocsin_server.operations import moves
from tocsin_server.store.interface import JobStore

#: Due jobs older than this are worth a warning; a queue in which nothing else moves either is not healthy then.
LATE = timedelta(minutes=1)

#: Failures worth a warning: so many in the five minutes that rates look back, and such a share of all attempts.
_RATES_OVER = timedelta(minutes=5)
_MANY_FAILURES, _FAILING_SHARE = 5, 0.5

_TYPES_NAMED = 10


@dataclass(frozen=True, slots=True)
class QueueHealth:
    """How a queue is. `error` says what is wrong and what to do; empty: due jobs are being run, or there are none."""

    error: str
    warnings: tuple[str, ...] = ()
    figures: QueueFigures | None = None  # None: the store does not answer
    paused: bool = False
    oldest_waiting_age: timedelta | None = None
    workers: tuple[WorkerFigures, ...] = ()
    unserved_types: tuple[str, ...] = ()

    @property
    def lag(self) -> timedelta:
        """How late due jobs start at present."""
        return self.oldest_waiting_age or timedelta(0)


async def queue_health(
    store: JobStore,
    queue: str,
    all_workers: Callable[[], Awaitable[Sequence[WorkerFigures]]],
    silent_since: datetime | None = None,
    writes_refused: str = "",
) -> QueueHealth:
    """Read a queue's figures and judge them. Cost O(types · states + workers).

    all_workers: who runs jobs, of any queue.
    silent_since: where the store is known not to answer, since when. It is not asked then: who wants to know whether
    all is well gets the answer at once, and as an answer.
    writes_refused: why the store answers and takes no writes, where that is so. No job begins then, due or not.
    """
    if silent_since is not None:
        return QueueHealth(_silent(f" since {silent_since:%H:%M:%S} UTC"))
    try:
        figures = await store.figures(queue)
        [settings] = await store.settings([queue])
        workers = [w for w in await all_workers() if not w.queues or queue in w.queues]
        move = await moves.standing(store, queue, settings)
    except (StoreAway, OutcomeUnknown):
        return QueueHealth(_silent(""))
    health = judged(figures, settings, workers, move)
    error = _read_only(writes_refused) if writes_refused else health.error
    return replace(health, error=error, warnings=(*store.alarms, *health.warnings))


def _silent(since: str) -> str:
    return f"the store does not answer{since}: no job begins until it does; see the server's log, and whether it runs"


def _read_only(why: str) -> str:
    return (
        f"the store takes no writes ({why}): nothing is scheduled and no job begins until it does; give its disk or "
        "its memory room, start its replicas, or name the primary where the address leads to a replica"
    )


def judged(
    figures: QueueFigures, settings: QueueSettings, workers: Sequence[WorkerFigures], move: moves.Move | None = None
) -> QueueHealth:
    """The judgement; `workers` are those that serve this queue, `move` is what it is paused for."""
    if move is not None:
        return _moving(figures, settings, workers, move)
    age = max(figures.now - figures.oldest_waiting, timedelta(0)) if figures.oldest_waiting else None
    served = {
        type_
        for worker in workers
        for type_ in worker.types
        if not settings.chooses_workers or settings.admits(type_, worker.version)
    }
    if any(HTTP_REQUEST in worker.types and not worker.remote for worker in workers):
        # Servers that make requests send jobs to push targets, too.
        served |= {t for counts in figures.counts.values() for t in counts if settings.push_of(t) is not None}
    unserved = _unserved(figures, State.WAITING, served)
    unserved_later = _unserved(figures, State.SCHEDULED, served)
    return QueueHealth(
        error=_error(figures, settings, workers, age, unserved),
        warnings=tuple(_warnings(figures, settings, workers, age, unserved, unserved_later)),
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
        waits = counted(waiting, "due job waits", "due jobs wait")
        return f"the queue is paused{reason} and {waits}: resume it"
    if unserved:
        return f"no process runs jobs of type {_some(unserved)}: start a server or a worker that has a handler for it"
    moving = figures.completed_per_second or figures.failed_per_second or figures.total(State.ACTIVE)
    if age is not None and age > LATE and not moving:
        slots = counted(max(sum(w.slots - w.busy - w.abandoned for w in workers), 0), "free slot")
        processes = counted(
            len(workers),
            f"process with {slots} says that it would: look at its log",
            f"processes with {slots} say that they would: look at their logs",
        )
        due = counted(waiting, "job is due, the oldest", "jobs are due, the oldest")
        return f"{due} for {_words(age)}, and none is being run, though {processes}"
    return ""


def _some(types: Sequence[str]) -> str:
    more = f" and {len(types) - _TYPES_NAMED:,} more" if len(types) > _TYPES_NAMED else ""
    return f"{', '.join(types[:_TYPES_NAMED])}{more}"


def _warnings(
    figures: QueueFigures,
    settings: QueueSettings,
    workers: Sequence[WorkerFigures],
    age: timedelta | None,
    unserved: Sequence[str],
    unserved_later: Sequence[str],
) -> Iterable[str]:
    if settings.draining:
        left = counted(sum(figures.total(state) for state in State if state not in ENDED), "job")
        yield f"draining: it takes no new jobs, and has {left} left to end; `tocsin queues resume` ends that"
    if settings.paused:
        yield "paused" + (f": {settings.pause_reason}" if settings.pause_reason else "")
    elif age is not None and age > LATE:
        helps = "" if unserved else "; more slots or processes help"
        yield f"due jobs start late: the oldest waits for {_words(age)}{helps}"
    yield from _failing(figures)
    if not workers and not figures.total(State.WAITING):
        yield "no process runs jobs of this queue"
    elif unserved_later:
        yield f"jobs of type {_some(unserved_later)} are scheduled, and no process would run them at present"
    for worker in workers:
        if worker.abandoned:
            told = counted(worker.abandoned, "handler was", "handlers were")
            yield f"{worker.worker}: {told} told to stop and did not; each holds a slot"
    yield from dict.fromkeys(warning for worker in workers for warning in worker.warnings)


def _failing(figures: QueueFigures) -> Iterable[str]:
    failed, all_ = figures.failed_per_second, figures.failed_per_second + figures.completed_per_second
    # Stores weigh the minute in which the window begins, so a count of these would be an estimate; a share is close.
    if round(failed * _RATES_OVER.total_seconds()) < _MANY_FAILURES or failed < _FAILING_SHARE * all_:
        return
    line = f"{failed / all_:.0%} of the attempts of the last five minutes failed"
    types = sorted(figures.counts.get(State.FAILED, {}).items(), key=lambda entry: (-entry[1], entry[0]))
    dead = _some([f"{type_} {count:,}" for type_, count in types])
    yield f"{line}; FAILED stand: {dead}; look at their errors" if dead else line


def _words(age: timedelta) -> str:
    return str(timedelta(seconds=int(age.total_seconds())))


def _moving(
    figures: QueueFigures, settings: QueueSettings, workers: Sequence[WorkerFigures], move: moves.Move
) -> QueueHealth:
    """Of a queue that is paused for a move. Jobs that run elsewhere now are no due jobs that wait here."""
    waiting = figures.total(State.WAITING)
    error = ""
    if isinstance(move, moves.Leaving) and move.done_time is not None:
        waiting = 0
        warning = f"moved to {move.to}: its jobs run there, and what stands here are copies"
    else:
        warning = f"paused: {settings.pause_reason}"
        if waiting:
            waits = counted(waiting, "due job waits", "due jobs wait")
            error = (
                f"the queue is being moved ({settings.pause_reason}), and {waits} until that is done: run `tocsin "
                "migrate` again to end it"
            )
    age = max(figures.now - figures.oldest_waiting, timedelta(0)) if waiting and figures.oldest_waiting else None
    return QueueHealth(
        error=error,
        warnings=(warning,),
        figures=figures,
        paused=True,
        oldest_waiting_age=age,
        workers=tuple(workers),
        unserved_types=(),
    )
