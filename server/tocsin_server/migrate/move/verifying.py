"""Two places' copies of a queue compared: every job, field by field, bytes of payloads included."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import aclosing
from dataclasses import dataclass, field, fields, is_dataclass
from datetime import datetime
from typing import Any

from tocsin_server.domain.filters import JobFilter
from tocsin_server.domain.job import Job, View
from tocsin_server.domain.queues import QueueSettings
from tocsin_server.domain.states import State
from tocsin_server.migrate.move.reading import BY_ID, STEP, Lines, newest_first, read_ahead
from tocsin_server.operations import moves
from tocsin_server.operations.pages import pages
from tocsin_server.store.interface import JobStore

_REMEMBERED = 10_000  # ids of jobs that are looked at once more


@dataclass(slots=True)
class Verified:
    """What was compared, and what differs."""

    jobs: int = 0
    equal: int = 0
    notes: int = 0
    target_only: int = 0
    differing: Lines = field(default_factory=Lines)
    missing: Lines = field(default_factory=Lines)
    out_of_order: Lines = field(default_factory=Lines)  # jobs that arrive before one that they came after
    beside: Lines = field(default_factory=Lines)  # settings and notes
    doubtful: list[str] = field(default_factory=list)  # ids of the first of those that are missing or differ

    @property
    def ok(self) -> bool:
        """Both sides are the same. Jobs that stand in the target only are its own."""
        return not (self.differing or self.missing or self.out_of_order or self.beside)


async def verify(
    source: JobStore, target: JobStore, queue: str, *, order: bool = True, with_settings: bool = True
) -> Verified:
    """Compare a queue, paused on both sides, in bounded memory. Arrival counts as an order, not as a number; without
    `order` not at all.

    A job that has ended and whose retention is over is not missed: the trimmer of either side may have been there.
    """
    verified = Verified()
    await _jobs(source, target, queue, verified, order=order)
    await _target_only(target, queue, verified)
    await _beside(source, target, queue, verified, with_settings=with_settings)
    return verified


async def look_again(
    source: JobStore, target: JobStore, queue: str, verified: Verified, *, with_settings: bool = True
) -> None:
    """At what was missing or differed, once more: a client may have been at it while it was compared. Where there was
    more of it than is remembered, nothing changes."""
    ids = verified.doubtful
    if len(ids) == verified.missing.count + verified.differing.count:
        verified.jobs -= len(ids)
        verified.missing, verified.differing, verified.doubtful = Lines(), Lines(), []
        for start in range(0, len(ids), BY_ID):
            some = ids[start : start + BY_ID]
            jobs = [job for job in await source.get(queue, some, View.FULL) if job is not None]
            copies = await target.get(queue, [job.job_id for job in jobs], View.FULL)
            for job, copy in zip(jobs, copies, strict=True):
                verified.jobs += 1
                _compare(job, copy, verified)
    if verified.beside:
        verified.notes, verified.beside = 0, Lines()
        await _beside(source, target, queue, verified, with_settings=with_settings)


def _compare(job: Job, copy: Job | None, verified: Verified) -> None:
    differences = [] if copy is None else list(_differences(job, copy))
    if copy is not None and not differences:
        verified.equal += 1
        return
    if len(verified.doubtful) < _REMEMBERED:
        verified.doubtful.append(job.job_id)
    if copy is None:
        verified.missing.add(f"job {job.job_id!r} is not in the target")
    else:
        verified.differing.add(f"job {job.job_id!r} differs in {', '.join(differences)}")


async def _beside(source: JobStore, target: JobStore, queue: str, verified: Verified, *, with_settings: bool) -> None:
    await _notes(source, target, queue, verified)
    if not with_settings:
        return
    [ours], [theirs] = await source.settings([queue]), await target.settings([queue])
    for name in _differences(_as_set(ours), _as_set(theirs)):
        verified.beside.add(f"setting {name} differs")


async def _jobs(source: JobStore, target: JobStore, queue: str, verified: Verified, *, order: bool) -> None:
    last: int | None = None
    now = await target.ping()
    async with aclosing(read_ahead(newest_first(source, queue))) as batches:
        async for jobs in batches:
            copies = await target.get(queue, [job.job_id for job in jobs], View.FULL)
            for job, copy in zip(jobs, copies, strict=True):
                if copy is None:
                    if not _over(job, now) and await _stands(source, job):
                        verified.jobs += 1
                        _compare(job, None, verified)
                    continue
                verified.jobs += 1
                if order and last is not None and copy.arrival > last:
                    verified.out_of_order.add(f"job {job.job_id!r} does not arrive where it did")
                last = copy.arrival
                _compare(job, copy, verified)


async def _target_only(target: JobStore, queue: str, verified: Verified) -> None:
    # Not its counts: those may be some seconds old.
    stand = 0
    async with aclosing(pages(target, queue, JobFilter(), STEP)) as batches:
        async for jobs in batches:
            stand += len(jobs)
    verified.target_only = stand - verified.equal - verified.differing.count


async def _notes(source: JobStore, target: JobStore, queue: str, verified: Verified) -> None:
    after = ""
    while notes := await source.notes(queue, after=after):
        for note in notes:
            after = note.key
            if note.key == moves.KEY:
                continue
            verified.notes += 1
            copy = await target.read_note(queue, note.key)
            if copy is None or copy.value != note.value:
                verified.beside.add(f"note {note.key!r} {'is not in the target' if copy is None else 'differs'}")


def _over(job: Job, now: datetime) -> bool:
    """Whether nobody promises any more that this job stands."""
    if job.end_time is None:
        return False
    kept = job.spec.terms.retention
    return job.end_time + (kept.failed_for if job.state is State.FAILED else kept.completed_for) <= now


async def _stands(store: JobStore, job: Job) -> bool:
    [standing] = await store.get(job.queue, [job.job_id], View.BASIC)
    return standing is not None


def _as_set(settings: QueueSettings) -> QueueSettings:
    """Without the pause: both sides are paused now."""
    return QueueSettings(
        defaults=settings.defaults,
        type_defaults=settings.type_defaults,
        completed_max=settings.completed_max,
        failed_max=settings.failed_max,
        draining=settings.draining,
        limits=settings.limits,
        fair_turns=settings.fair_turns,
        priority_ageing=settings.priority_ageing,
    )


def _differences(one: Any, other: Any, path: str = "") -> Iterator[str]:
    """The fields that differ, as paths."""
    for each in fields(one):
        if each.name == "arrival" or not each.compare:
            continue
        left, right = getattr(one, each.name), getattr(other, each.name)
        where = f"{path}.{each.name}" if path else each.name
        if left == right:
            continue
        if is_dataclass(left) and is_dataclass(right):
            yield from _differences(left, right, where)
        else:
            yield where
