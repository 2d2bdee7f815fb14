"""DependencyStore over MongoDB. A child's document has its parents, and how many of them are open; `errand` says when a
document is to be looked at for that. Who waits for a job stands in a collection of its own, a document each:

_id        "<parent's queue>/<its arrival>/<child's queue>/<child's id>"
parent     "<queue>/<arrival>"
revision   that the parent had: an end of a greater one is told
queue, id  of the child

The row is written before the parent says that it is `watched`, by compare and swap: so an end that comes in between is
seen. The write that ends a watched job leaves word of that in its document (`untold`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from bson.int64 import Int64
from pymongo import UpdateOne
from pymongo.asynchronous.collection import AsyncCollection

from tocsin_server.domain import limits
from tocsin_server.domain.dependencies import (
    BLOCK_TIMEOUT,
    PARENT_FAILED,
    DependsOn,
    EndedParent,
    EndWatch,
    Errands,
    JobRef,
    ParentEnd,
    ParentJob,
    Settlement,
    WhenParentFails,
    said_of,
)
from tocsin_server.domain.errors import TocsinError
from tocsin_server.domain.job import JobError
from tocsin_server.domain.states import ENDED, State
from tocsin_server.store.condition_records import conditions_of
from tocsin_server.store.dependency_store import DependencyStore
from tocsin_server.store.mongo.clock import ServerClock
from tocsin_server.store.mongo.commit import Commit, WriteRounds
from tocsin_server.store.mongo.connection import MongoConnection
from tocsin_server.store.mongo.documents import Document, key, next_look, parent_document, parent_of
from tocsin_server.store.mongo.jobs import Jobs, unknown_after
from tocsin_server.store.mongo.transitions import (
    Standing,
    add_error,
    confirm,
    end_as,
    refuse,
    remove,
    touch,
    unblock,
)

_AT_ONCE = 200  # jobs of a write
_TOLD_AT_ONCE = 100  # children of one job
_FAILED = (ParentEnd.GONE, ParentEnd.FAILED, ParentEnd.CANCELLED)


class MongoDependencies(DependencyStore):
    """Of all queues."""

    def __init__(
        self, connection: MongoConnection, collection: str, clock: ServerClock, jobs: Jobs, commit: Commit
    ) -> None:
        self._connection = connection
        self._children: AsyncCollection[Document] = connection.database[f"{collection}.children"]
        self._clock = clock
        self._jobs = jobs
        self._commit = commit
        commit.on_gone = self._tell_of_gone

    async def parents(self, queue: str, job_ids: Sequence[str]) -> list[tuple[ParentJob, ...]]:
        found = await self._jobs.by_id([key(queue, one) for one in dict.fromkeys(job_ids)], {"parents": 1})
        return [tuple(map(parent_of, found.get(key(queue, one), {}).get("parents", ()))) for one in job_ids]

    # --- asking ---

    async def watch(self, queue: str, watches: Sequence[EndWatch]) -> list[ParentJob]:
        answers: dict[int, ParentJob] = {}

        async def attempt(left: Sequence[int]) -> Collection[int]:
            ids = [watches[at].job_id for at in left]
            standing, rows = await self._jobs.load(queue, ids), []
            for at in left:
                watch, job = watches[at], standing.get(watches[at].job_id)
                answers[at] = _watched(queue, watch, job)
                if job is not None and answers[at].end is ParentEnd.OPEN and not watch.of_end:
                    rows.append(_row(queue, watch, job))
            if rows:
                await self._connection.run(lambda: self._children.bulk_write(rows, ordered=False))
            for job in standing.values():
                confirm(job)
            with unknown_after(bool(rows)):
                lost = await self._commit.write(queue, list(standing.values()))
                if absent := [one for one in dict.fromkeys(ids) if one not in standing]:
                    lost |= await self._jobs.absent(queue, absent)
            return [at for at in left if watches[at].job_id in lost]

        for start in range(0, len(watches), _AT_ONCE):
            await WriteRounds().run(range(start, min(start + _AT_ONCE, len(watches))), attempt)
        return [answers[at] for at in range(len(watches))]

    async def settle(self, queue: str, settlements: Sequence[Settlement]) -> list[State | None]:
        states: dict[int, State | None] = {}

        async def attempt(left: Sequence[int]) -> Collection[int]:
            ids = [settlements[at].job_id for at in left]
            standing = await self._jobs.load(queue, ids)
            keys = [job.before["_id"] for job in standing.values() if _depends(job) is not None]
            known = await self._jobs.by_id(keys, {"parents": 1}) if keys else {}
            for at in left:
                job = standing.get(settlements[at].job_id)
                if job is not None and not job.gone:
                    _settle(job, known.get(job.before["_id"], {}), settlements[at])
                states[at] = None if job is None or job.gone else job.state
            lost = await self._commit.write(queue, list(standing.values()))
            return [at for at in left if settlements[at].job_id in lost]

        for start in range(0, len(settlements), _AT_ONCE):
            await WriteRounds().run(range(start, min(start + _AT_ONCE, len(settlements))), attempt)
        return [states[at] for at in range(len(settlements))]

    # --- telling ---

    async def errands(self, queue: str, limit: int = 100) -> Errands:
        condition = {"queue": queue, "errand": {"$exists": True, "$lte": await self._clock.bound()}}
        found = await self._jobs.find(condition, sort=[("errand", 1)], limit=limit)
        due = [job for job in found if job.document["errand"] <= job.now]
        for job in due:
            _take(job)
        lost = await self._commit.write(queue, due)  # who lost it was not the first to take it
        mine = [job for job in due if job.document["id"] not in lost]
        blocked = tuple(job.document["id"] for job in mine if job.state is State.BLOCKED)
        words = [(job, word) for job in mine for word in job.document.get("untold", ())]
        ended = [await self._ended(queue, job, word) for job, word in words]
        if nobody := [one for one in ended if not one.children]:
            await self.told(queue, nobody)
        return Errands(tuple(one for one in ended if one.children), blocked)

    async def told(self, queue: str, tellings: Sequence[EndedParent]) -> bool:
        left = []
        for one in tellings:
            revision, parent = _read_token(one.token)[0], _parent_id(queue, one.parent.arrival)
            of_parent = {"parent": parent, "revision": {"$lt": revision}}
            ids = [_row_id(parent, child) for child in one.children]
            if ids:
                heard = {**of_parent, "_id": {"$in": ids}}
                await self._connection.run(partial(self._children.delete_many, heard))
            left.append(await self._connection.run(partial(self._children.find_one, of_parent), read_only=True))

        def decide(at: int, job: Standing | None) -> bool:
            if job is None or "untold" not in job.document:
                return False
            on_end = _on_end(job)
            if left[at] is not None or (on_end is not None and on_end not in tellings[at].children):
                if left[at] is not None:
                    job.document["errand"] = job.now
                    touch(job)
                return left[at] is not None
            _forget_word(job, _read_token(tellings[at].token)[0])
            return False

        return any(await self._commit.change(queue, [_read_token(one.token)[1] for one in tellings], decide))

    async def _ended(self, queue: str, job: Standing, word: Mapping[str, Any]) -> EndedParent:
        arrival, revision = int(job.document["arrival"]), int(word["revision"])
        children = [JobRef(row["queue"], row["id"]) for row in await self._rows(queue, arrival, revision)]
        if (on_end := _on_end(job)) is not None:
            children.append(on_end)
        parent = ParentJob(queue, job.document["id"], arrival, ParentEnd(word["how"]))
        return EndedParent(f"{revision}/{job.document['id']}".encode(), parent, tuple(children))

    async def _rows(self, queue: str, arrival: int, revision: int) -> list[Document]:
        of_parent = {"parent": _parent_id(queue, arrival), "revision": {"$lt": revision}}
        return await self._connection.run(
            lambda: self._children.find(of_parent, {"queue": 1, "id": 1}).limit(_TOLD_AT_ONCE).to_list(), read_only=True
        )

    async def _tell_of_gone(self, queue: str, jobs: Sequence[Standing]) -> None:
        """Of jobs that were deleted while others waited for their end, or were still to hear of it. Whom this does not
        reach asks by itself, and finds it gone."""
        for job in jobs:
            before, parent = job.before, _parent_id(queue, int(job.before["arrival"]))
            words = before.get("untold") or [{"how": ParentEnd.GONE, "revision": int(before["revision"]) + 1}]
            as_was = Standing(dict(before), job.now)
            with suppress(TocsinError):
                while (one := await self._ended(queue, as_was, words[-1])).children:
                    by_queue: dict[str, list[Settlement]] = defaultdict(list)
                    for child in one.children:
                        by_queue[child.queue].append(Settlement(child.job_id, (one.parent,)))
                    for of, heard in by_queue.items():
                        await self.settle(of, heard)
                    ids = [_row_id(parent, child) for child in one.children]
                    rows = {"_id": {"$in": ids}}
                    done = await self._connection.run(partial(self._children.delete_many, rows))
                    if not done.deleted_count:
                        break


def _parent_id(queue: str, arrival: int) -> str:
    return f"{queue}/{arrival}"


def _row_id(parent: str, child: JobRef) -> str:
    return f"{parent}/{child.queue}/{child.job_id}"


def _row(queue: str, watch: EndWatch, job: Standing) -> UpdateOne:
    parent = _parent_id(queue, int(job.document["arrival"]))
    row = {
        "parent": parent,
        "revision": Int64(job.document["revision"]),
        "queue": watch.child.queue,
        "id": watch.child.job_id,
    }
    return UpdateOne({"_id": _row_id(parent, watch.child)}, {"$set": row}, upsert=True)


def _read_token(token: bytes) -> tuple[int, str]:
    revision, _, job_id = token.decode().partition("/")
    return int(revision), job_id


def _on_end(job: Standing) -> JobRef | None:
    return conditions_of(job.document.get("conditions")).on_end


def _depends(job: Standing) -> DependsOn | None:
    return conditions_of(job.document.get("conditions")).depends if job.state is State.BLOCKED else None


def _watched(queue: str, watch: EndWatch, job: Standing | None) -> ParentJob:
    """What a parent answers, and that it is watched from now on where it has not ended."""
    if job is None or (watch.arrival and int(job.document["arrival"]) != watch.arrival):
        return ParentJob(queue, watch.job_id, watch.arrival, ParentEnd.GONE)
    if watch.of_end and _on_end(job) != watch.child:
        return ParentJob(queue, watch.job_id, watch.arrival, ParentEnd.GONE)
    end = ParentEnd(int(job.state)) if job.state in ENDED else ParentEnd.OPEN
    if end is ParentEnd.OPEN and "watched" not in job.document:
        job.document["watched"] = True
        touch(job)
    return ParentJob(queue, watch.job_id, int(job.document["arrival"]), end)


def _settle(job: Standing, known: Mapping[str, Any], said: Settlement) -> None:
    """Let a child hear of parents; `known`: those that it has."""
    depends = _depends(job)
    if depends is None:
        return
    parents = [parent_of(one) for one in job.document.get("parents") or known.get("parents", ())]
    failed = list(_note(parents, said.parents))
    open_parents = sum(one.end is ParentEnd.OPEN for one in parents)
    if depends.of_end and any(one.end is ParentEnd.GONE for one in failed):
        remove(job)  # the job that it was to follow was never made
        return
    job.document.update(parents=list(map(parent_document, parents)), open=open_parents)
    touch(job)
    if failed and depends.when_parent_fails is not WhenParentFails.RUN:
        if depends.when_parent_fails is WhenParentFails.FAIL:
            add_error(job, JobError(PARENT_FAILED, said_of(failed[0])))
            end_as(job, State.FAILED)
        else:
            refuse(job, f"{PARENT_FAILED}: {said_of(failed[0])}")
    elif not open_parents:
        unblock(job)
    elif said.asked_all:
        job.document["errand"] = next_look(job.document, job.now, limits.ASK_AGAIN)


def _note(parents: list[ParentJob], heard: Sequence[ParentJob]) -> Iterator[ParentJob]:
    """Note in `parents` what is heard of them; those that failed."""
    places = {(one.queue, one.job_id): at for at, one in enumerate(parents)}
    for one in heard:
        at = places.get((one.queue, one.job_id))
        if at is None or parents[at].end is not ParentEnd.OPEN:
            continue
        if one.arrival and parents[at].is_numbered and parents[at].arrival != one.arrival:
            continue
        parents[at] = ParentJob(one.queue, one.job_id, one.arrival or parents[at].arrival, one.end)
        if one.end in _FAILED:
            yield parents[at]


def _take(job: Standing) -> None:
    """What was looked for comes again a little later, unless it is done by then."""
    document = job.document
    depends = _depends(job)
    if "untold" in document:
        document["errand"] = job.now + limits.RETELL
    elif depends is None:
        del document["errand"]
    elif depends.block_timeout is not None and document["create"] + depends.block_timeout <= job.now:
        longest = depends.block_timeout.total_seconds()
        add_error(
            job,
            JobError(
                BLOCK_TIMEOUT,
                f"it waited for other jobs for as long as its block_timeout says, {longest * 1000:.0f} ms, and not all "
                "of them had ended.",
            ),
        )
        end_as(job, State.FAILED)
    else:
        document["errand"] = next_look(document, job.now, limits.ASK_PARENTS)
    touch(job)


def _forget_word(job: Standing, revision: int) -> None:
    words = [word for word in job.document["untold"] if int(word["revision"]) != revision]
    if words:
        job.document["untold"] = words
    else:
        del job.document["untold"]
        job.document.pop("errand", None)
    touch(job)
