"""Commit: the one place where changes of jobs are numbered, written and logged. The sister of Redis's lib/commit.lua.

A verb reads jobs and decides what each becomes (transitions.py); then, none of it a transaction, so that it needs no
replica set and no lock:
1. numbers for the changes are taken from the queue's document (queues.py);
2. each job is written on the condition that its `writes` is what was read (jobs.py); the loser of a race reads and
   decides again (WriteRounds);
3. the changes are added to the queue's log under the numbers taken (event_log.py): watchers and dispatchers hear of
   them.
Numbers are taken after reading and before writing, so the changes of one job are numbered in the order in which they
were made. A server that dies between 1 and 3 leaves a hole in the numbers: watchers who meet it are told of a gap and
read again, dispatchers claim (holes.py). What was acknowledged stands: it was written in step 2. Numbers are never
given back, whatever becomes of the write: nobody can be sure that it did not act.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, TypeVar

from bson.int64 import Int64

from tocsin_server.domain.errors import StoreAway
from tocsin_server.domain.states import State
from tocsin_server.store.mongo.documents import UNREAD, Document, ended
from tocsin_server.store.mongo.event_log import EventLog, Flags
from tocsin_server.store.mongo.job_logs import JobLogs
from tocsin_server.store.mongo.jobs import Jobs, unknown_after
from tocsin_server.store.mongo.key_rows import waiting_for
from tocsin_server.store.mongo.owing import Debt
from tocsin_server.store.mongo.places import LimitPlaces, letting_go
from tocsin_server.store.mongo.queues import Allocation, QueueDocuments
from tocsin_server.store.mongo.transitions import Standing, confirm, unblock

#: WriteRounds of read, decide and write before a call gives up on jobs that others keep changing.
_ROUNDS = 50
#: Seconds that a loser waits before the next round, at most.
_FIRST_PAUSE, _LONGEST_PAUSE = 0.02, 0.5
_NOT_IN_CHANGES = frozenset(
    {*UNREAD, "errand", "logged", "number", "open", "ops", "placed", "token", "unfiled", "untold", "writes"}
)
#: So many jobs are read, written and logged at a time.
_JOBS_A_WRITE = 200

R = TypeVar("R")


class WriteRounds:
    """The rounds of one call: what others were faster with is read and decided again."""

    def __init__(self) -> None:
        self._acted = False
        self.at_once = False  # the next round: nothing is known yet of anybody who would be in its way

    async def run(self, places: Iterable[int], attempt: Callable[[Sequence[int]], Awaitable[Collection[int]]]) -> None:
        """Let `attempt` do the items of a batch that stand at these places, until none is left. It returns the places
        of those that were lost to others, and is given these alone the next time."""
        left = list(places)
        for number in range(_ROUNDS):
            if number and not self.at_once:
                # At random, and longer each time: who lost together would meet again, and all but one lose again.
                pause = min(_FIRST_PAUSE * 2.0**number, _LONGEST_PAUSE)
                await asyncio.sleep(pause * random.random())  # noqa: S311 - spreads load, guards nothing
            self.at_once = False
            with unknown_after(self._acted):
                lost = await attempt(left)
            self._acted = self._acted or len(lost) < len(left)
            left = [at for at in left if at in lost]
            if not left:
                return
        with unknown_after(self._acted):
            raise StoreAway("others kept changing the same jobs")


class Commit:
    """Of all queues."""

    def __init__(
        self, jobs: Jobs, queues: QueueDocuments, log: EventLog, job_logs: JobLogs, places: LimitPlaces
    ) -> None:
        self._jobs = jobs
        self._places = places
        self._queues = queues
        self._log = log
        self._job_logs = job_logs
        #: Told of jobs that are deleted though others are to hear of their end; it raises nothing.
        self.on_gone: Callable[[str, Sequence[Standing]], Awaitable[None]] | None = None

    async def change(
        self,
        queue: str,
        job_ids: Sequence[str],
        decide: Callable[[int, Standing | None], R],
        *,
        rates: Callable[[], Mapping[str, int]] = dict,
        cancels: bool = False,
        written: Callable[[int, Standing], bool] | None = None,
    ) -> list[R]:
        """Let `decide` change the job of each id, and write what it touched; its answers, in order.

        Several of a call may be of one job: they are taken in order. `decide` is asked again where the job was changed
        by others meanwhile, so it must not remember; it is given the place of the id, and None where no job stands.
        What it leaves as it is, is confirmed (transitions.confirm), and that no job stands as well.

        `written` says of a job as this process wrote it last whether `decide` would write it: then it is not read. If
        somebody else has written it since, that shows as in any race.
        """
        answers: dict[int, R] = {}
        tried: set[int] = set()  # places of what others had written
        rounds = WriteRounds()

        async def attempt(left: Sequence[int]) -> Collection[int]:
            ids = [job_ids[at] for at in left]
            standing = None
            if written is not None and tried.isdisjoint(left):
                known = await self._jobs.remembered(queue, ids)
                if known is not None and all(written(at, known[job_ids[at]]) for at in left):
                    standing, rounds.at_once = known, True
            if standing is None:
                standing = await self._jobs.load(queue, ids)
            tried.update(left)
            for at in left:
                job = standing.get(job_ids[at])
                answers[at] = decide(at, None if job is None or job.gone else job)
            for job in standing.values():
                confirm(job)
            lost = await self.write(queue, list(standing.values()), rates=rates(), cancels=cancels)
            if absent := [one for one in dict.fromkeys(ids) if one not in standing]:
                with unknown_after(bool(standing)):
                    lost |= await self._jobs.absent(queue, absent)
            return [at for at in left if job_ids[at] in lost]

        for start in range(0, len(job_ids), _JOBS_A_WRITE):
            await rounds.run(range(start, min(start + _JOBS_A_WRITE, len(job_ids))), attempt)
        return [answers[at] for at in range(len(job_ids))]

    async def write(
        self,
        queue: str,
        jobs: Sequence[Standing],
        *,
        rates: Mapping[str, int] | None = None,
        cancels: bool = False,
        retention: bool = False,
        beside_logging: Callable[[set[str]], Awaitable[None]] | None = None,
    ) -> set[str]:
        """Write what was touched or is to be confirmed; the ids of those that others had changed meanwhile, which were
        left as they are. `retention`: what goes has had its time."""
        written = [job for job in jobs if job.touched or job.confirmed]
        loud = [job for job in written if not job.quiet]
        if not loud:
            return await self._jobs.swap(written) if written else set()
        gone = {} if retention else ends_of(job for job in loud if job.gone)
        events = sum(map(_changes_in, loud))
        taken, _ = await self._queues.allocate(queue, events=events, rates=rates, gone=gone)
        return await self.write_under(taken, written, cancels=cancels, beside_logging=beside_logging)

    async def write_under(
        self,
        taken: Allocation,
        changed: Sequence[Standing],
        new: Sequence[Document] = (),
        *,
        cancels: bool = False,
        debt: Debt | None = None,
        before_logging: Callable[[set[str]], Awaitable[None]] | None = None,
        beside_logging: Callable[[set[str]], Awaitable[None]] | None = None,
    ) -> set[str]:
        """Write new jobs and changed ones, and log them under the numbers taken; the ids at which others were faster,
        which were left as they are. What goes on before logging, and may still change documents, and beside it, is
        given these. `debt`: what owes the new jobs."""
        for document in (*new, *(job.document for job in changed if not job.quiet)):
            document["number"] = Int64(taken.last)
        mark_unfiled(taken, [(None, one) for one in new])
        mark_unfiled(taken, [(None if job.anew else job.before, job.document) for job in changed if not job.quiet])
        lost = await self._jobs.insert(new, debt) if new else set()
        with unknown_after(bool(new)):
            lost |= await self._jobs.swap(changed) if changed else set()
        lets_go = letting_go([job for job in changed if job.document["id"] not in lost])
        if lets_go:
            with unknown_after(True):
                await self._places.free(taken.queue, lets_go)
        if logs_gone := _logs_gone(job for job in changed if job.document["id"] not in lost):
            with unknown_after(True):
                await self._job_logs.drop(logs_gone)
        if before_logging is not None:
            await before_logging(lost)
        changed = [job for job in changed if not job.quiet and job.document["id"] not in lost]
        new = [document for document in new if document["id"] not in lost]
        flags = _flags_of(new, changed, cancels=cancels)
        if lets_go:
            flags = replace(flags, claimable=True)
        freed = {key for job in changed if (key := _freed(job)) is not None}
        logging = self._log.append(taken, [*_changes_of(changed), *map(_basic, new)], flags)
        if beside_logging is None:
            await logging
        else:
            with unknown_after(True):
                await asyncio.gather(logging, beside_logging(lost))
        if freed:
            with unknown_after(True):
                await self.let_go(taken.queue, freed)
        if self.on_gone is not None and (gone := [job for job in changed if _leaves_children(job)]):
            await self.on_gone(taken.queue, gone)
        return lost

    async def let_go(self, queue: str, keys: Collection[str]) -> None:
        """Let jobs go that waited for the end of another of these keys, where none of it runs or is to run any more.
        Where this does not come about they are found again (TrimJobs), for they have an alarm."""

        async def attempt(left: Sequence[int]) -> Collection[int]:
            lost = []
            for at in left:
                if (job := await waiting_for(self._jobs, queue, names[at])) is not None:
                    unblock(job)
                    if await self.write(queue, [job]):
                        lost.append(at)
            return lost

        names = sorted(keys)
        await WriteRounds().run(range(len(names)), attempt)

    async def replace(self, taken: Allocation, new: Document) -> Document | None:
        """Put `new` in the place of a job that has not begun, by one command, whatever the job is like; log it, and
        return what stands. None where the job has begun or is gone, or where a later number was faster: the changes of
        a job are numbered in their order.

        Many who replace one job at once do not outrun each other so, as they do by compare and swap.
        """
        mark_unfiled(taken, [(None, new)])
        stands = await self._jobs.replace(new, taken.last)
        # Whether it became claimable by this cannot be told from what was read: others may have replaced it since.
        written = [] if stands is None else [stands]
        with unknown_after(True):
            await self._job_logs.drop({one["_id"]: int(one["arrival"]) for one in written if "logged" in one})
        await self._log.append(taken, list(map(_basic, written)), _flags_of(written, (), cancels=False))
        return stands


def mark_unfiled(taken: Allocation, jobs: Iterable[tuple[Mapping[str, Any] | None, Document]]) -> None:
    """Of these jobs, as they were and as they are to be, those that come to wait where keys take turns are to be filed
    (turns.py)."""
    for before, document in jobs:
        if document["state"] != State.WAITING:
            document.pop("unfiled", None)
        elif taken.fair and (before is None or before["state"] != State.WAITING):
            document["unfiled"] = Int64(taken.last)


def ends_of(going: Iterable[Standing]) -> dict[str, datetime]:
    """The latest end of jobs that are about to go, by field of `gone` in the queue's document."""
    latest: dict[str, datetime] = {}
    for job in going:
        if (end := job.before.get("end")) is not None:
            field = "failed" if job.before["state"] == State.FAILED else "done"
            latest[field] = max(end, latest.get(field, end))
    return latest


def _freed(job: Standing) -> str | None:
    """The key of which the job was one that had not ended, and is none any more; None where there is no such key."""
    before, now = job.before, {} if job.gone or ended(job.document) else job.document
    if "key" not in before or ended(before) or before.get("key") == now.get("key"):
        return None
    return str(before["key"])


def _leaves_children(job: Standing) -> bool:
    """Whether it is gone, or another stands under its id, and others were to hear of its end."""
    before = job.before
    if not (job.gone or _is_anew(job)) or "watched" not in before:
        return False
    return "untold" in before or not ended(before)


def _logs_gone(jobs: Iterable[Standing]) -> dict[str, int]:
    """Of jobs that had lines of log and have them no longer: _id and arrival."""
    return {
        job.before["_id"]: int(job.before["arrival"])
        for job in jobs
        if "logged" in job.before and (job.gone or "logged" not in job.document)
    }


def _is_anew(job: Standing) -> bool:
    """Another job stands under its id: the old one is gone, a new one has come."""
    return job.anew and not job.gone and job.document["arrival"] != job.before["arrival"]


def _changes_in(job: Standing) -> int:
    """How many changes are told of it."""
    return 2 if _is_anew(job) or job.between is not None else 1


def _basic(document: Mapping[str, Any]) -> Document:
    """What a change keeps of a job: all that View.BASIC shows."""
    kept = {name: value for name, value in document.items() if name not in _NOT_IN_CHANGES}
    if "errors" in kept:
        kept["errors"] = [{**error, "trace": ""} for error in kept["errors"]]
    return kept


def _changes_of(jobs: Sequence[Standing]) -> list[Document]:
    """The changes as the log keeps them."""
    changes: list[Document] = []
    for job in jobs:
        if job.gone or _is_anew(job):
            changes.append({**_basic(job.before), "deleted": True})
        if job.between is not None:
            changes.append(_basic(job.between))
        if not job.gone:
            changes.append(_basic(job.document))
    return changes


def _flags_of(new: Sequence[Document], changed: Sequence[Standing], *, cancels: bool) -> Flags:
    """What dispatchers are to hear of new jobs and of changed ones."""
    claimable = any(document["state"] == State.WAITING for document in new)
    asked = False
    errands = any("untold" in document for document in new)
    dues = [document["due"] for document in new if document["state"] == State.SCHEDULED]
    for job in changed:
        document, before = job.document, job.before
        if job.gone:
            continue
        errands = errands or ("untold" in document and "untold" not in before)
        became = document["state"] != before["state"] or document["type"] != before["type"] or _is_anew(job)
        claimable = claimable or (became and job.state is State.WAITING)
        asked = asked or (cancels and job.state is State.ACTIVE)
        if job.state is State.SCHEDULED:
            dues.append(document["due"])
    return Flags(claimable=claimable, due=min(dues, default=None), cancels=asked, errands=errands)
