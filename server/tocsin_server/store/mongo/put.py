"""Jobs are placed as they stood elsewhere: plan what each comes to, take numbers, write, and plan again where others
were faster."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from tocsin_server.domain import limits
from tocsin_server.domain.job import Job, Put, View
from tocsin_server.domain.job_errors import JobActive
from tocsin_server.domain.quotas import too_many_types
from tocsin_server.domain.states import State
from tocsin_server.store.batching import part_by_part, parts
from tocsin_server.store.mongo.arrivals import Arrivals
from tocsin_server.store.mongo.commit import Commit, WriteRounds
from tocsin_server.store.mongo.documents import HEAVY, UNREAD, Document, job_of, key
from tocsin_server.store.mongo.jobs import Jobs
from tocsin_server.store.mongo.placed import placed_document
from tocsin_server.store.mongo.queues import QueueDocuments
from tocsin_server.store.mongo.quotas import JobQuota, KnownTypes, Left
from tocsin_server.store.mongo.transitions import Standing, confirm, place_over
from tocsin_server.store.put import Placed

_CALL_JOBS, _CALL_BYTES = 200, 8 << 20


@dataclass(frozen=True, slots=True)
class _Planned:
    """A job that is to be written."""

    at: int  # its place in the batch
    job: Job
    arrival: int  # 0: the next one
    over: Standing | None  # what stands under its id

    @property
    def renumbered(self) -> bool:
        """It comes to a number that it does not stand under already."""
        return self.over is None or self.over.before["arrival"] != self.arrival

    @property
    def events(self) -> int:
        """Where another arrival comes, what stood is deleted first."""
        return 2 if self.over is not None and self.renumbered else 1


class PutJobs:
    """JobStore.put."""

    def __init__(self, jobs: Jobs, queues: QueueDocuments, commit: Commit, types: KnownTypes, quota: JobQuota) -> None:
        self._jobs = jobs
        self._queues = queues
        self._commit = commit
        self._types = types
        self._quota = quota
        self._arrivals = Arrivals(jobs, queues)

    async def put_into(self, queue: str, jobs: Sequence[Job], *, over: bool) -> list[Placed]:
        """Place jobs of one queue, in order."""
        sizes = [len(job.spec.payload.body) if job.spec.payload else 0 for job in jobs]
        cuts = parts(sizes, _CALL_JOBS, _CALL_BYTES)
        highest = max(job.arrival for job in jobs)
        return await part_by_part(jobs, cuts, lambda part: self._put(queue, part, over, highest))

    async def _put(self, queue: str, jobs: Sequence[Job], over: bool, highest: int) -> list[Placed]:
        answers: dict[int, Placed] = {}

        async def attempt(left: Sequence[int]) -> Collection[int]:
            standing = await self._jobs.load(queue, [jobs[at].job_id for at in left])
            plan = await self._plan(queue, {at: jobs[at] for at in left}, standing, over, answers)
            kept = [job for job in standing.values() if job.confirmed]
            if plan:
                lost = await self._write(queue, plan, kept, highest, answers)
            else:
                lost = await self._commit.write(queue, kept)
            return [at for at in left if jobs[at].job_id in lost]

        rounds = WriteRounds()
        for wave in _waves(jobs):
            await rounds.run(wave, attempt)
        return [answers[at] for at in range(len(jobs))]

    async def _plan(
        self,
        queue: str,
        jobs: Mapping[int, Job],
        standing: Mapping[str, Standing],
        over: bool,
        answers: dict[int, Placed],
    ) -> list[_Planned]:
        """Which jobs, of different ids, are to be written by what stands now; the others are answered."""
        if not over:
            for job in standing.values():
                confirm(job)
            answers.update((at, Put.KEPT) for at, job in jobs.items() if job.job_id in standing)
            jobs = {at: job for at, job in jobs.items() if job.job_id not in standing}
        if not jobs:
            return []
        holders = await self._arrivals.holders(queue, {job.arrival for job in jobs.values() if job.arrival})
        alike = await self._alike([job for job in jobs.values() if job.job_id in standing], standing)
        known = await self._types.of(queue, {job.spec.type for job in jobs.values()})
        room = await self._quota.of(queue)
        return list(_planned(jobs, standing, holders, alike, known, room, answers))

    async def _write(
        self,
        queue: str,
        plan: Sequence[_Planned],
        kept: Sequence[Standing],
        highest: int,
        answers: dict[int, Placed],
    ) -> set[str]:
        """Write what was planned, and confirm what is kept; the ids at which others were faster."""
        taken = await self._queues.allocate_above(
            queue,
            highest,  # of the whole batch: a job that needs a number takes none that another one brings
            events=sum(one.events for one in plan),
            arrivals=sum(not one.arrival for one in plan),
        )
        following = itertools.count(taken.first_arrival)
        new: list[Document] = []
        over: list[Standing] = []
        brought: list[Document] = []  # with numbers of their own
        for one in plan:
            document = placed_document(one.job, one.arrival or next(following))
            if one.over is None:
                new.append(document)
            else:
                place_over(one.over, document)
                over.append(one.over)
            if one.renumbered and one.arrival:
                brought.append(document)
            answers[one.at] = Put.CREATED if one.over is None else Put.REPLACED

        async def separate(lost: set[str]) -> None:
            await self._arrivals.separate(queue, [document for document in brought if document["id"] not in lost])

        return await self._commit.write_under(taken, [*over, *kept], new, before_logging=separate)

    async def _alike(self, jobs: Sequence[Job], standing: Mapping[str, Standing]) -> set[str]:
        """Ids of the jobs that stand just so, their arrival numbers aside.

        Payloads and results are read only of those that are alike in all else.
        """
        wanted = {job.job_id: placed_document(job, 0) for job in jobs}
        light = [name for name, document in wanted.items() if _light(document) == _light(standing[name].document)]
        if not light:
            return set()
        ids = [key(jobs[0].queue, name) for name in light]
        found = await self._jobs.by_id(ids, dict.fromkeys(("id", "writes", *HEAVY), 1))
        return {
            one["id"]
            for one in found.values()
            # Written again since: whoever takes it for another one now will lose, and look again.
            if one["writes"] == standing[one["id"]].document["writes"]
            and all(one.get(name) == wanted[one["id"]].get(name) for name in HEAVY)
        }


def _light(document: Document) -> tuple[Job, int]:
    """What a job is but for payload, result and arrival number. As a Job: a tag's place in a list is nothing of it."""
    without = {name: value for name, value in document.items() if name not in UNREAD}
    return job_of({**without, "arrival": 0}, View.FULL), document["bytes"]


def _waves(jobs: Sequence[Job]) -> Iterator[list[int]]:
    """Places of the batch; of several jobs of one id each comes one wave later, so that it finds the one before."""
    left = list(range(len(jobs)))
    while left:
        first: dict[str, int] = {}
        for at in left:
            first.setdefault(jobs[at].job_id, at)
        wave = sorted(first.values())
        yield wave
        left = sorted(set(left) - set(wave))


def _planned(
    jobs: Mapping[int, Job],
    standing: Mapping[str, Standing],
    holders: dict[int, str],
    alike: set[str],
    known_types: set[str],
    room: Left,
    answers: dict[int, Placed],
) -> Iterator[_Planned]:
    """What each job comes to, in order, where it is to be written; the others are answered.

    holders: ids by arrival number, of the numbers that the jobs had elsewhere.
    """
    for at, job in jobs.items():
        stands = standing.get(job.job_id)
        if stands is not None and stands.state is State.ACTIVE:
            answers[at] = JobActive(job.queue, job.job_id)
            continue
        arrival = job.arrival if holders.get(job.arrival, job.job_id) == job.job_id else 0
        if stands is not None and job.job_id in alike and arrival in (0, stands.document["arrival"]):
            confirm(stands)
            answers[at] = Put.SAME
            continue
        if job.spec.type not in known_types:
            if len(known_types) >= limits.TYPES_PER_QUEUE:
                answers[at] = too_many_types(job.queue)
                continue
            known_types.add(job.spec.type)
        if stands is None and (refusal := room.take()) is not None:
            answers[at] = refusal
            continue
        if stands is not None:
            holders.pop(stands.document["arrival"], None)
        if arrival:
            holders[arrival] = job.job_id
        yield _Planned(at, job, arrival, stands)
