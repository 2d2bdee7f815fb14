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
from tocsin_server.migrate import move_notes
from tocsin_server.migrate.lines import Lines
from tocsin_server.migrate.reading import STEP, newest_first
from tocsin_server.operations.steps import steps
from tocsin_server.store.interface import JobStore


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

    @property
    def ok(self) -> bool:
        """Both sides are the same. Jobs that stand in the target only are its own."""
        return not (self.differing or self.missing or self.out_of_order or self.beside)


async def verify(source: JobStore, target: JobStore, queue: str, *, order: bool = True) -> Verified:
    """Compare a queue, paused on both sides, in bounded memory. Arrival counts as an order, not as a number; without
    `order` not at all.

    A job that has ended and whose retention is over is not missed: the trimmer of either side may have been there.
    """
    found = Verified()
    await _jobs(source, target, queue, found, order=order)
    await _target_only(target, queue, found)
    await _notes(source, target, queue, found)
    [ours], [theirs] = await source.settings([queue]), await target.settings([queue])
    for name in _differences(_as_set(ours), _as_set(theirs)):
        found.beside.add(f"setting {name} differs")
    return found


async def _jobs(source: JobStore, target: JobStore, queue: str, found: Verified, *, order: bool) -> None:
    last: int | None = None
    now = await target.ping()
    async with aclosing(newest_first(source, queue)) as some:
        async for jobs in some:
            copies = await target.get(queue, [job.job_id for job in jobs], View.FULL)
            for job, copy in zip(jobs, copies, strict=True):
                if copy is None:
                    if not _over(job, now) and await _stands(source, job):
                        found.jobs += 1
                        found.missing.add(f"job {job.job_id!r} is not in the target")
                    continue
                found.jobs += 1
                if order and last is not None and copy.arrival > last:
                    found.out_of_order.add(f"job {job.job_id!r} does not arrive where it did")
                last = copy.arrival
                if differences := list(_differences(job, copy)):
                    found.differing.add(f"job {job.job_id!r} differs in {', '.join(differences)}")
                else:
                    found.equal += 1


async def _target_only(target: JobStore, queue: str, found: Verified) -> None:
    # Not its counts: those may be some seconds old.
    stand = 0
    async with aclosing(steps(target, queue, JobFilter(), STEP)) as some:
        async for jobs in some:
            stand += len(jobs)
    found.target_only = stand - found.equal - found.differing.count


async def _notes(source: JobStore, target: JobStore, queue: str, found: Verified) -> None:
    after = ""
    while notes := await source.notes(queue, after=after):
        for note in notes:
            after = note.key
            if note.key == move_notes.KEY:
                continue
            found.notes += 1
            copy = await target.read_note(queue, note.key)
            if copy is None or copy.value != note.value:
                found.beside.add(f"note {note.key!r} {'is not in the target' if copy is None else 'differs'}")


def _over(job: Job, now: datetime) -> bool:
    """Whether nobody promises any more that this job stands."""
    if job.end_time is None:
        return False
    kept = job.spec.retention
    return job.end_time + (kept.failed_for if job.state is State.FAILED else kept.completed_for) <= now


async def _stands(store: JobStore, job: Job) -> bool:
    [found] = await store.get(job.queue, [job.job_id], View.BASIC)
    return found is not None


def _as_set(settings: QueueSettings) -> QueueSettings:
    """Without the pause: both sides are paused now."""
    return QueueSettings(
        defaults=settings.defaults,
        type_defaults=settings.type_defaults,
        completed_max=settings.completed_max,
        failed_max=settings.failed_max,
    )


def _differences(one: Any, other: Any, path: str = "") -> Iterator[str]:
    """The fields that differ, as paths."""
    for each in fields(one):
        if each.name == "arrival":
            continue
        left, right = getattr(one, each.name), getattr(other, each.name)
        where = f"{path}.{each.name}" if path else each.name
        if left == right:
            continue
        if is_dataclass(left) and is_dataclass(right):
            yield from _differences(left, right, where)
        else:
            yield where
