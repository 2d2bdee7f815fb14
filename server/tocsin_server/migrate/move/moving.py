"""One queue moved from a store to another: paused on both sides, copied, compared, and let go on in the target.

A client of the source may add, change or cancel jobs until the target goes on: what changes is copied again until
nothing does. A run that is killed at any moment is carried on by the next one. The source keeps its jobs, paused:
nothing runs twice, and the way back stays open.
"""

from __future__ import annotations

from contextlib import aclosing
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from tocsin_server.domain.filters import JobFilter
from tocsin_server.domain.queues import QueueSettings
from tocsin_server.domain.states import State
from tocsin_server.migrate.move.copying import Copied, Copying, Tell
from tocsin_server.migrate.move.reading import STEP, Lines, anything
from tocsin_server.migrate.move.verifying import Verified, look_again, verify
from tocsin_server.migrate.stores import Side
from tocsin_server.operations import moves, schedule_moves
from tocsin_server.operations.moves import Arriving, Leaving
from tocsin_server.operations.pages import pages
from tocsin_server.store.interface import JobStore

_LOOK = timedelta(seconds=1)  # at most between two looks at attempts that still run
_LOOKS = 10  # at most at what differed while clients went on


@dataclass(slots=True)
class Moved:
    """What became of a queue."""

    queue: str
    copied: Copied = field(default_factory=Copied)
    active: Lines = field(default_factory=Lines)  # jobs that still run in the source
    verified: Verified | None = None
    done: bool = False  # the target goes on with it
    kept_settings: bool = False  # the target has its own
    schedules: int = 0  # that were handed over
    already: bool = False  # it had been moved by an earlier run; what was added to the source since was copied


class CannotMove(Exception):
    """The queue is not moved, and nothing was changed: one line that says why, and what to do."""


async def move_queue(source: Side, target: Side, queue: str, *, patience: timedelta, check: bool, tell: Tell) -> Moved:
    """Move it. Waits up to `patience` for attempts that run; with `check` compares all jobs before it lets go.

    Not `done`: some still ran, or differ, or were refused. Both sides stay paused then, and a next run goes on.
    """
    try:
        return await _moved(_Move(source, target, queue), patience=patience, check=check, tell=tell)
    except moves.Overtaken:
        raise CannotMove(
            f"queue {queue!r}: another run moves it at this moment; let one run at a time, and run this again"
        ) from None


async def _moved(move: _Move, *, patience: timedelta, check: bool, tell: Tell) -> Moved:
    source, target, queue = move.source, move.target, move.queue
    leaving = await move.as_left()
    if leaving.done_time is not None:
        return await _moved_before(move, leaving, leaving.done_time, check=check, tell=tell)
    arriving = await move.as_found()
    await move.begin(leaving, arriving)
    await _quiet(source.store, queue, patience)

    merges = arriving.copies_before is None
    with_settings = not arriving.keeps_settings
    copying = Copying(source.store, target.store, queue, tell, merges=merges, copies_before=arriving.copies_before)
    moved = Moved(queue, copying.done, kept_settings=arriving.keeps_settings)
    await copying.copy_all()
    there = await copying.catch_up()
    moved.active = await _active(source.store, queue)
    if arriving.copies_before is not None:
        await copying.remove_gone(arriving.copies_before)
    if check:
        found = await verify(source.store, target.store, queue, order=not merges, with_settings=with_settings)
        for _ in range(_LOOKS):  # comparing may have taken minutes, and clients go on
            there = await copying.catch_up()
            if found.ok:
                break
            await look_again(source.store, target.store, queue, found, with_settings=with_settings)
        moved.verified = found
    if not moved.copied.refused and not moved.active and (moved.verified is None or moved.verified.ok):
        there = await _schedules_over(move, moved, copying, there)
    if not moved.copied.refused and not moved.active and (moved.verified is None or moved.verified.ok):
        await move.let_go(replace(leaving, done_time=there, cursor=copying.cursor))
        moved.done = True
    else:
        await schedule_moves.go_on(source.store, queue, target.address)
    return moved


async def _schedules_over(move: _Move, moved: Moved, copying: Copying, there: datetime) -> datetime:
    """Hand over the schedules: what they make until they are stopped is copied before they go on in the target. The
    time of the last look at the source's jobs, which was `there` before."""
    source, target, queue, to = move.source.store, move.target.store, move.queue, move.target.address
    if not await _clash(move, moved):
        await schedule_moves.stop(source, queue, to)
        there = await copying.catch_up()
        if not moved.copied.refused:
            moved.schedules = await schedule_moves.hand_over(source, target, queue, to, all_paused=True)
    return there


async def _clash(move: _Move, moved: Moved) -> bool:
    """Whether a schedule cannot go to the target; it is among what was refused then."""
    found = schedule_moves.clashes(move.source.store, move.target.store, move.queue, move.target.address)
    async with aclosing(found) as lines:
        async for line in lines:
            moved.copied.refused.add(line)
    return bool(moved.copied.refused)


async def _moved_before(move: _Move, leaving: Leaving, since: datetime, *, check: bool, tell: Tell) -> Moved:
    """Bring over what clients have added to the source since it was moved."""
    source, target, queue = move.source.store, move.target.store, move.queue
    if isinstance(await moves.read(target, queue), Arriving):
        await move.let_go(leaving)  # the earlier run died just before
    copying = Copying(source, target, queue, tell, merges=False)
    moved = Moved(queue, copying.done, already=True)
    if not await _clash(move, moved):  # schedules that were made there since
        await schedule_moves.stop(source, queue, move.target.address)
    there = await copying.add_newer(since, leaving.cursor)
    if check:  # what has gone on there since differs, and is named
        moved.verified = await verify(source, target, queue, order=False)
    if not moved.copied.refused:
        moved.schedules = await schedule_moves.hand_over(source, target, queue, move.target.address, all_paused=False)
        await move.remember(replace(leaving, done_time=there, cursor=copying.cursor))
        moved.done = not moved.copied.unknown  # said once: the next run looks from here on
    return moved


class _Move:
    """The pauses and notes of a move: what tells a next run how far this one came."""

    def __init__(self, source: Side, target: Side, queue: str) -> None:
        self.source, self.target, self.queue = source, target, queue
        self._revision = 0  # of the source's note, as this run has seen or written it

    async def as_left(self) -> Leaving:
        """How the source was before any move, or how a move left it. CannotMove."""
        self._revision = await moves.revision(self.source.store, self.queue)
        note, settings = await self._told(self.source)
        if isinstance(note, Arriving):
            raise CannotMove(f"{self._at(self.source)}: a move into it was not finished; finish that first")
        if note is None:
            return Leaving(self.target.address, settings.paused, settings.pause_reason)
        if note.to == self.target.address:
            return note
        if note.done_time is not None:
            raise CannotMove(
                f"{self._at(self.source)} was moved to {note.to}, where its jobs run: move it from there; or, where "
                "it is to be this side's again, `tocsin queues resume --take-back` here"
            )
        raise CannotMove(
            f"{self._at(self.source)}: its move to {note.to} was not finished, or goes on now: finish that first; or "
            "give it up, with `tocsin queues resume --take-back` on both sides"
        )

    async def as_found(self) -> Arriving:
        """How the target was before any move. CannotMove."""
        note, settings = await self._told(self.target)
        if isinstance(note, Leaving):
            if note.done_time is None:
                raise CannotMove(f"{self._at(self.target)}: its move to {note.to} was not finished; finish that first")
            if note.to != self.source.address:
                raise CannotMove(
                    f"{self._at(self.target)} was moved to {note.to}, and what it still has are old copies: delete "
                    "them; or, where it is to be this side's again, `tocsin queues resume --take-back` there"
                )
            return Arriving(note.done_time)  # what had been moved away is no truth any more; what came since is
        if note is not None:
            if settings.pause_reason != moves.arriving(self.source.address):
                raise CannotMove(
                    f"{self._at(self.target)}: {settings.pause_reason}, and that was not finished: finish it first; or "
                    "give it up, with `tocsin queues resume --take-back` there"
                )
            return note
        if isinstance(await moves.read(self.target.store, self.queue), Arriving) and not settings.paused:
            raise CannotMove(
                f"{self._at(self.target)} was resumed before all of it was there, so jobs may have run on both sides: "
                "pause it there, look at what ended, and run this again"
            )
        holds_jobs = await anything(self.target.store, self.queue)
        own = replace(settings, paused_since=None, pause_reason="") != QueueSettings()
        return Arriving(None if holds_jobs else await self.target.store.ping(), keeps_settings=own)

    async def begin(self, leaving: Leaving, arriving: Arriving) -> None:
        """Pause both sides, and write down what a next run must know.

        The target is paused before its note is written, the source after its: whenever a run dies, what was paused by
        its users can be told from what was paused here.
        """
        source, target = self.source.store, self.target.store
        [settings], [theirs] = await source.settings([self.queue]), await target.settings([self.queue])
        brought = theirs if arriving.keeps_settings else settings
        await target.put_settings(
            self.queue, replace(brought, pause_reason=moves.arriving(self.source.address)), paused=True
        )
        revision = await moves.revision(target, self.queue)
        await moves.write(target, self.queue, arriving, revision=revision)
        await self.remember(leaving)
        await source.put_settings(
            self.queue, replace(settings, pause_reason=moves.leaving(self.target.address)), paused=True
        )

    async def remember(self, leaving: Leaving) -> None:
        """Write down how far it came. Overtaken: nothing is let go of by a run whose note is no longer its own."""
        self._revision = await moves.write(self.source.store, self.queue, leaving, revision=self._revision)

    async def let_go(self, leaving: Leaving) -> None:
        """The queue is the target's from here on; what had been made by its `done_time` is in it."""
        await self.remember(leaving)
        [settings] = await self.target.store.settings([self.queue])
        settings = replace(settings, pause_reason=leaving.reason)
        await self.target.store.put_settings(self.queue, settings, paused=leaving.paused)
        await moves.forget(self.target.store, self.queue)

    async def _told(self, place: Side) -> tuple[Leaving | Arriving | None, QueueSettings]:
        """What a side remembers of a move, if the pause of that move still stands; and the queue's settings."""
        [settings] = await place.store.settings([self.queue])
        return await moves.standing(place.store, self.queue, settings), settings

    def _at(self, place: Side) -> str:
        return f"queue {self.queue!r} of {place.address}"


async def _quiet(store: JobStore, queue: str, patience: timedelta) -> None:
    """Wait until no attempt of the paused queue runs, or `patience` is over."""
    end = await store.ping() + patience
    cursor = await store.cursor(queue)
    while True:
        await store.reap(queue)  # there may be no server left that does
        if not await anything(store, queue, State.ACTIVE):
            return
        left = end - await store.ping()
        if left <= timedelta(0):
            return
        cursor = (await store.events(queue, cursor, wait=min(left, _LOOK))).cursor


async def _active(store: JobStore, queue: str) -> Lines:
    """Jobs that run."""
    lines = Lines()
    running = JobFilter(states=frozenset({State.ACTIVE}))
    async with aclosing(pages(store, queue, running, STEP)) as batches:
        async for jobs in batches:
            for job in jobs:
                lines.add(f"job {job.job_id!r} still runs")
    return lines
