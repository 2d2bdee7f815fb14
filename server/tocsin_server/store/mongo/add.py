"""Jobs are added: plan what each draft comes to, take numbers, write, and plan again where others were faster."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum, auto

from bson.int64 import Int64

from tocsin_server.domain import limits
from tocsin_server.domain.errors import QueueDraining, TocsinError
from tocsin_server.domain.job import Added, Draft, Job, Kept, New, OnConflict, Replaced, View
from tocsin_server.domain.job_errors import JobActive, JobExists
from tocsin_server.domain.quotas import too_many_types
from tocsin_server.domain.states import ENDED, State
from tocsin_server.domain.times import EPOCH, MILLISECOND
from tocsin_server.store.batching import part_by_part, parts
from tocsin_server.store.mongo.commit import Commit, WriteRounds, ends_of
from tocsin_server.store.mongo.documents import Document, job_of, new_document, set_alarm
from tocsin_server.store.mongo.full import FullLimits
from tocsin_server.store.mongo.jobs import Jobs, unknown_after
from tocsin_server.store.mongo.key_rows import KeyRow, collapsed, each_key_once, key_of, read_row
from tocsin_server.store.mongo.owing import Debt, NotOwed
from tocsin_server.store.mongo.queues import Allocation, QueueDocuments
from tocsin_server.store.mongo.quotas import JobQuota, KnownTypes, Left
from tocsin_server.store.mongo.transitions import Standing, begin_anew, confirm, replace_in_place

_CALL_JOBS, _CALL_BYTES = 200, 1 << 20
_ROWS_AT_ONCE = 20  # keys, of which two questions are asked each

Answer = Added | TocsinError


class _Act(Enum):
    CREATE = auto()
    KEEP = auto()
    IN_PLACE = auto()
    ANEW = auto()


_MAKES = (_Act.CREATE, _Act.ANEW)


@dataclass(frozen=True, slots=True)
class _Planned:
    """What a draft comes to."""

    at: int  # its place in the batch
    draft: Draft
    job_id: str | None
    act: _Act
    after: int | None = None  # of a new job that has a key: which job of that it comes after
    blocked: bool = False  # and it waits for another of them


class AddJobs:
    """JobStore.add."""

    def __init__(
        self,
        jobs: Jobs,
        queues: QueueDocuments,
        commit: Commit,
        types: KnownTypes,
        quota: JobQuota,
        full: FullLimits,
    ) -> None:
        self._jobs = jobs
        self._queues = queues
        self._commit = commit
        self._full = full
        self._types = types
        self._quota = quota

    async def add_to(self, queue: str, drafts: Sequence[Draft], debt: Debt | None = None) -> list[Answer]:
        """Add jobs of one queue, in order. `debt`: what owes them; NotOwed where it does not any more."""
        answers: list[Answer] = []
        for some in each_key_once(drafts):
            sizes = [len(draft.spec.payload.body) if draft.spec.payload else 0 for draft in some]
            cuts = parts(sizes, _CALL_JOBS, _CALL_BYTES)
            with unknown_after(bool(answers)):
                answers += await part_by_part(some, cuts, lambda part: self._add(queue, part, debt))
        return answers

    async def _add(self, queue: str, drafts: Sequence[Draft], debt: Debt | None = None) -> list[Answer]:
        answers: dict[int, Answer] = {}

        async def attempt(left: Sequence[int]) -> Collection[int]:
            lost, left = await some(left)
            while left and not lost:
                with unknown_after(True):
                    lost, left = await some(left)
            return [*lost, *left]

        async def some(left: Sequence[int]) -> tuple[Collection[int], Sequence[int]]:
            asked = (drafts[at] for at in left if drafts[at].on_conflict is not OnConflict.UNIQUE)
            ids = [draft.job_id for draft in asked if draft.job_id is not None]
            standing = await self._jobs.load(queue, ids) if ids else {}
            cut = _first_of_a_left_key([drafts[at] for at in left], standing)
            left, rest = left[:cut], left[cut:]
            rows = await self._rows(queue, [drafts[at] for at in left], standing)
            known = await self._types.of(queue, {drafts[at].spec.type for at in left})
            room = await self._quota.of(queue)
            try:
                plan = _plan(left, drafts, standing, rows, known, room, answers)
                lost = await self._write(queue, plan, standing, answers, debt)
            except QueueDraining as refusal:  # nothing was written; what is not made, others of these do not meet
                plan = _plan(left, drafts, standing, rows, known, room, answers, refusal)
                lost = await self._write(queue, plan, standing, answers, debt)
            if debt is not None and debt.paid_by_others:
                raise NotOwed
            if blocked := [key for one in plan if one.blocked and (key := key_of(one.draft)) is not None]:
                with unknown_after(True):  # what they wait for may have ended since it was read
                    await self._commit.let_go(queue, blocked)
            return [at for at in left if drafts[at].job_id in lost or _named(answers[at]) in lost], rest

        await WriteRounds().run(range(len(drafts)), attempt)
        return [answers[at] for at in range(len(drafts))]

    async def _rows(self, queue: str, drafts: Sequence[Draft], standing: dict[str, Standing]) -> dict[str, KeyRow]:
        """What stands of the drafts' keys; their jobs come to `standing`, where they are read once."""
        keys = [key for draft in drafts if (key := key_of(draft)) is not None]
        rows: dict[str, KeyRow] = {}
        for start in range(0, len(keys), _ROWS_AT_ONCE):
            some = keys[start : start + _ROWS_AT_ONCE]
            found = await asyncio.gather(*(read_row(self._jobs, queue, key) for key in some))
            rows.update(zip(some, found, strict=True))
        for row in rows.values():
            for job in (row.blocked, row.pending, row.active, row.latest):
                if job is not None:
                    standing.setdefault(job.document["id"], job)
        return rows

    async def _write(
        self,
        queue: str,
        plan: Sequence[_Planned],
        standing: Mapping[str, Standing],
        answers: dict[int, Answer],
        debt: Debt | None,
    ) -> set[str]:
        """Write what was planned, and confirm what stands; the ids at which others were faster."""
        creates = sum(one.act in _MAKES for one in plan)
        events = sum(2 if one.act is _Act.ANEW else 1 for one in plan if one.act is not _Act.KEEP)
        if not events:
            for one in plan:
                if one.job_id is not None:
                    answers[one.at] = Kept(job_of(standing[one.job_id].document, View.BASIC))
            return await self._commit.write(queue, list(standing.values()))
        if (
            len(plan) == 1
            and plan[0].act is _Act.IN_PLACE
            and (stands := standing.get(str(plan[0].job_id)))
            and stands.document["state"] in (State.SCHEDULED, State.WAITING)
            and "placed" not in stands.document  # else a place is given back
            and "watched" not in stands.document
            and stands.document.get("key") in (None, key_of(plan[0].draft))
            # That write knows nothing of attempts, and one that has begun does not expire.
            and not (stands.document["attempt"] and plan[0].draft.spec.conditions.expire is not None)
        ):
            return await self._replace(queue, plan[0], stands, answers)
        replaced = {one.job_id for one in plan if one.act is _Act.ANEW}
        gone = ends_of(job for job_id, job in standing.items() if job_id in replaced)
        taken, now = await self._queues.allocate(
            queue, events=events, arrivals=creates, gone=gone, new_jobs=creates > 0
        )
        fresh, created = _carry_out(plan, standing, now, taken, answers)
        standing_written = [job for job in standing.values() if job.touched or job.confirmed]
        documents = list(fresh.values())
        waiting = int(State.WAITING)
        made = {name: fresh.get(name) or standing[name].document for name in created} if taken.strict else {}
        coming = {name: doc for name, doc in made.items() if created[name]["state"] == doc["state"] == waiting}
        if not coming:
            return await self._commit.write_under(taken, standing_written, documents, debt=debt)
        for document in coming.values():
            document["state"] = int(State.SCHEDULED)  # until it is judged; who dies before leaves it to a claim

        async def judge(lost: set[str]) -> None:
            judged = {name: (doc, created[name]) for name, doc in coming.items() if name not in lost}
            with unknown_after(True):
                stand = await self._full.judge_added(taken, judged, now)
            for at, answer in answers.items():
                if not isinstance(answer, TocsinError) and (stands := stand.get(_named(answer))) is not None:
                    job = job_of(stands, View.BASIC)
                    answers[at] = _new(job) if isinstance(answer, New) else type(answer)(job)

        return await self._commit.write_under(taken, standing_written, documents, debt=debt, before_logging=judge)

    async def _replace(self, queue: str, one: _Planned, standing: Standing, answers: dict[int, Answer]) -> set[str]:
        """A lone job that takes the place of one that has not begun; the id where that was changed meanwhile."""
        job_id = str(one.job_id)
        taken, now = await self._queues.allocate(queue, events=1)
        if standing.document.get("number", 0) >= taken.last:
            # The queue's document was lost, and its log before: numbers began anew. By compare and swap none is asked.
            standing.now = max(standing.now, now)
            replace_in_place(standing, one.draft)
            answers[one.at] = Replaced(job_of(standing.document, View.BASIC))
            return await self._commit.write_under(taken, [standing])
        new = new_document(one.draft, job_id, 0, now)  # it keeps the arrival that stands
        if "key" in new and new["key"] == standing.document.get("key"):
            del new["after"]  # likewise
        stands = await self._commit.replace(taken, new)
        if stands is None:
            answers[one.at] = Replaced(job_of(standing.document, View.BASIC))  # for the next round to put right
            return {job_id}
        answers[one.at] = Replaced(job_of(stands, View.BASIC))
        return set()


def _first_of_a_left_key(drafts: Sequence[Draft], standing: Mapping[str, Standing]) -> int:
    """The place of the first draft of a key that a job leaves which one before it replaces: what stands of that key is
    to be read once that is written."""
    left: set[str] = set()
    for place, draft in enumerate(drafts):
        key = key_of(draft)
        if key in left:
            return place
        stands = standing.get(draft.job_id or "")
        if stands is not None and draft.on_conflict is OnConflict.REPLACE:
            before = stands.document.get("key")
            if before not in (None, key):
                left.add(before)
    return len(drafts)


def _plan(
    places: Sequence[int],
    drafts: Sequence[Draft],
    standing: Mapping[str, Standing],
    rows: Mapping[str, KeyRow],
    known_types: set[str],
    room: Left,
    answers: dict[int, Answer],
    draining: QueueDraining | None = None,
) -> list[_Planned]:
    """What each draft comes to. Refusals are answered, `draining` to all that would make a job; two drafts of one id
    are taken in order."""
    states: dict[str, State] = {job_id: job.state for job_id, job in standing.items()}
    plan = []
    for at in places:
        draft, job_id = drafts[at], drafts[at].job_id
        state = states.get(job_id) if job_id is not None else None
        act = _Act.CREATE
        if state is not None and job_id is not None:
            if job_id in standing and draft.on_conflict is not OnConflict.REPLACE:
                confirm(standing[job_id])
            if draft.on_conflict is OnConflict.KEEP:
                plan.append(_Planned(at, draft, job_id, _Act.KEEP))
                continue
            if draft.on_conflict is OnConflict.FAIL:
                answers[at] = JobExists(draft.spec.queue, job_id, state)
                continue
            if state is State.ACTIVE:
                answers[at] = JobActive(draft.spec.queue, job_id)
                continue
            act = _Act.ANEW if state in ENDED else _Act.IN_PLACE
        after, blocked = None, False
        if state is None and (row := rows.get(key_of(draft) or "")) and (collapse := draft.spec.conditions.collapse):
            done = collapsed(draft, collapse, row)
            draft, after, blocked = done.draft, row.after, done.blocked
            if done.other is not None:
                other = done.other.document["id"]
                if done.kept:
                    confirm(standing[other])
                plan.append(_Planned(at, draft, other, _Act.KEEP if done.kept else _Act.IN_PLACE))
                continue
        if draining is not None and act in _MAKES:
            answers[at] = draining
            continue
        if draft.spec.type not in known_types:
            if len(known_types) >= limits.TYPES_PER_QUEUE:
                answers[at] = too_many_types(draft.spec.queue)
                continue
            known_types.add(draft.spec.type)
        if state is None and (refusal := room.take()) is not None:
            answers[at] = refusal
            continue
        if job_id is not None:
            due_later = isinstance(draft.when, timedelta) and draft.when > timedelta(0)
            states[job_id] = State.SCHEDULED if due_later else State.WAITING  # corrected by _carry_out
        plan.append(_Planned(at, draft, job_id, act, after, blocked))
    return plan


def _carry_out(
    plan: Sequence[_Planned],
    standing: Mapping[str, Standing],
    now: datetime,
    taken: Allocation,
    answers: dict[int, Answer],
) -> tuple[dict[str, Document], dict[str, Document]]:
    """Make the new jobs' documents, by id, and change the standing ones; all answers. And the new jobs, also those in
    the place of ended ones, as they came: a later draft of the same call may have made another of one."""
    fresh: dict[str, Document] = {}
    created: dict[str, Document] = {}
    arrival = taken.first_arrival
    for one in plan:
        outcome: type[Replaced] | type[Kept] | None = None
        if one.act is _Act.CREATE:
            job_id = one.job_id or _new_id(now, arrival)
            document = fresh[job_id] = new_document(one.draft, job_id, arrival, now)
            if one.after is not None:
                document["after"] = Int64(one.after)
            if one.blocked:
                document["state"] = int(State.BLOCKED)
                set_alarm(document, now)
            created[job_id] = dict(document)
            arrival += 1
        elif one.job_id in fresh:
            document, outcome = fresh[one.job_id], Kept
            if one.act is _Act.IN_PLACE:
                job = Standing(document, now)
                replace_in_place(job, one.draft)
                document, outcome = job.document, Replaced
                fresh[one.job_id] = document
        else:
            job = standing[str(one.job_id)]
            job.now, outcome = max(job.now, now), Kept
            if one.act is _Act.ANEW:
                begin_anew(job, one.draft, arrival)
                created[job.document["id"]] = dict(job.document)
                arrival, outcome = arrival + 1, Replaced
            elif one.act is _Act.IN_PLACE:
                replace_in_place(job, one.draft)
                outcome = Replaced
            document = job.document
        stands = job_of(document, View.BASIC)
        answers[one.at] = _new(stands) if outcome is None else outcome(stands)
    return fresh, created


def _named(answer: Answer) -> str:
    """The id of the job that an answer says stands."""
    if isinstance(answer, TocsinError):
        return ""
    return answer.job_id if isinstance(answer, New) else answer.job.job_id


def _new(job: Job) -> New:
    return New(job.job_id, job.state, job.create_time, job.schedule_time, job.arrival)


def _new_id(now: datetime, arrival: int) -> str:
    """A UUIDv8: 48 bits of create time, 26 random bits, 48 bits of arrival number."""
    ms, seed = (now - EPOCH) // MILLISECOND, secrets.randbits(26)
    return (
        f"{ms >> 16:08x}-{ms & 0xFFFF:04x}-8{seed >> 14:03x}-{0x8000 | seed & 0x3FFF:04x}-"
        f"{arrival >> 32:04x}{arrival & 0xFFFFFFFF:08x}"
    )
