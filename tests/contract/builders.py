"""Jobs to be added, attempts' ends, and the short ways into each state."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from tocsin_server.domain.commands import CancelJob
from tocsin_server.domain.errors import TocsinError
from tocsin_server.domain.filters import JobFilter, ListQuery, Page, Position
from tocsin_server.domain.job import (
    Added,
    Draft,
    Job,
    JobError,
    JobSpec,
    New,
    OnConflict,
    Payload,
    Put,
    Retention,
    Terms,
    View,
)
from tocsin_server.domain.lease import AttemptOutcome, Claimed, Ending, Extended, Finished, Lease
from tocsin_server.domain.retry import RetryPolicy
from tocsin_server.domain.states import ENDED, State
from tocsin_server.store.interface import JobStore

NOW = timedelta(0)
MILLISECOND = timedelta(milliseconds=1)
SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
YEAR = timedelta(days=365)
INT32 = (-(2**31), 2**31 - 1)
EARLIER = datetime(2020, 2, 29, 12, tzinfo=UTC)
LATER = datetime(2099, 12, 24, 18, tzinfo=UTC)
RAW = 11  # the number of the payload field `raw` in tocsin.v1.JobSpec

T = TypeVar("T")
#: What a test does with an attempt at its end.
End = Callable[[Claimed], AttemptOutcome]
_requests = itertools.count(1)


#: What callers can wish where a job of the id stands; UNIQUE is the server's own word.
WISHES = (OnConflict.FAIL, OnConflict.KEEP, OnConflict.REPLACE)


def a_request() -> bytes:
    """Eight bytes that no other claim of this run has."""
    return next(_requests).to_bytes(8, "big")


def a_spec(*, queue: str = "q", type: str = "t", priority: int = 0, **fields: Any) -> JobSpec:
    """A plain spec; name what matters."""
    plain: dict[str, Any] = {
        "payload": None,
        "terms": Terms(
            fields.pop("retry", RetryPolicy()),
            fields.pop("timeout", None),
            fields.pop("retention", Retention(timedelta(hours=24), timedelta(days=30))),
        ),
    }
    return JobSpec(queue=queue, type=type, priority=priority, **{**plain, **fields})


def a_draft(
    job_id: str | None = None,
    *,
    when: datetime | timedelta = NOW,
    on_conflict: OnConflict = OnConflict.FAIL,
    body: bytes | None = None,
    **spec: Any,
) -> Draft:
    """A job to be added, due now; the other words are the spec's."""
    if body is not None:
        spec["payload"] = Payload(RAW, body)
    return Draft(a_spec(**spec), job_id, when, on_conflict)


def a_job(
    job_id: str = "a",
    state: State = State.WAITING,
    *,
    arrival: int = 0,
    body: bytes | None = None,
    life: Mapping[str, Any] | None = None,
    **spec: Any,
) -> Job:
    """A job as it stood elsewhere, to be placed. `life` has words of Job, the others are the spec's."""
    if body is not None:
        spec["payload"] = Payload(RAW, body)
    plain: dict[str, Any] = {
        "create_time": EARLIER,
        "schedule_time": LATER if state is State.SCHEDULED else EARLIER,
        "start_time": EARLIER + SECOND if state in ENDED else None,
        "end_time": EARLIER + MINUTE if state in ENDED else None,
        "attempt": int(state in ENDED),
        "failures": int(state is State.FAILED),
        "crashes": 0,
        "revision": 3,
        "errors": (JobError("ValueError", "no", "line 1", EARLIER + MINUTE, 1),) if state is State.FAILED else (),
    }
    return Job(job_id, a_spec(**spec), state, arrival=arrival, **{**plain, **(life or {})})


def good(answer: T | TocsinError) -> T:
    """The answer, which must not be a refusal."""
    assert not isinstance(answer, TocsinError), answer
    return answer


def refused(answer: object, kind: type[TocsinError]) -> Any:
    """The refusal, which must be of this kind."""
    assert type(answer) is kind, answer
    return answer


def all_extended(answers: Sequence[object]) -> bool:
    """Whether all leases stand on, and no cancel was asked."""
    return all(isinstance(answer, Extended) and answer.cancel_reason is None for answer in answers)


async def added(store: JobStore, *drafts: Draft) -> list[Job]:
    """Add jobs; the jobs that stand now (View.BASIC), of new ones as their draft and the answer say."""
    return [stands(draft, answer) for draft, answer in zip(drafts, await store.add(drafts), strict=True)]


async def outcomes(store: JobStore, *drafts: Draft) -> list[type[Added]]:
    """Add jobs; what adding did."""
    return [type(good(answer)) for answer in await store.add(drafts)]


def stands(draft: Draft, answer: Added | TocsinError) -> Job:
    """The job that stands after adding (View.BASIC); it must not be a refusal."""
    done = good(answer)
    if not isinstance(done, New):
        return done.job
    return Job(
        done.job_id,
        replace(draft.spec, payload=None),
        done.state,
        done.create_time,
        done.schedule_time,
        start_time=None,
        end_time=None,
        attempt=0,
        failures=0,
        crashes=0,
        revision=1,
        arrival=done.arrival,
    )


async def placed(store: JobStore, *jobs: Job, over: bool = False) -> list[Put]:
    """Place jobs, none of which may be refused; what placing did."""
    return [good(answer) for answer in await store.put(jobs, over=over)]


async def read(store: JobStore, job: Job | Claimed | str, view: View = View.FULL, *, queue: str = "q") -> Job:
    """The job as it stands now; it must stand."""
    if isinstance(job, Claimed):
        job = job.job
    if isinstance(job, Job):
        queue, job = job.queue, job.job_id
    [found] = await store.get(queue, [job], view)
    assert found is not None, f"{job!r} does not stand in {queue!r}"
    return found


async def claimed(
    store: JobStore,
    limit: int = 1000,
    *,
    queue: str = "q",
    types: Mapping[str, int] | Sequence[str] = ("t",),
    lease: timedelta = MINUTE,
) -> list[Claimed]:
    """Claim again and again until `limit` jobs came or none is left, best first."""
    left = dict(types) if isinstance(types, Mapping) else dict.fromkeys(types, 1000)
    found: list[Claimed] = []
    while True:
        claim = await store.claim(queue, left, limit - len(found), lease=lease, request=a_request())
        found += claim.claimed
        for one in claim.claimed:
            left[one.job.spec.type] -= 1
        if not claim.more or len(found) == limit:
            return found


async def claimed_one(store: JobStore, **words: Any) -> Claimed:
    """The best job, leased; there must be one."""
    [one] = await claimed(store, 1, **words)
    return one


def completed(one: Claimed, result: bytes | None = None) -> AttemptOutcome:
    """It went well."""
    return AttemptOutcome(one.lease, Ending.COMPLETED, result=result)


def failed(one: Claimed, retry_in: timedelta | None = None, **error: Any) -> AttemptOutcome:
    """Its handler raised."""
    return AttemptOutcome(
        one.lease,
        Ending.FAILED,
        error=JobError(**{"type": "ValueError", "message": "no", "trace": "line 1", **error}),
        retry_in=retry_in,
    )


def released(one: Claimed) -> AttemptOutcome:
    """It is given back unfinished."""
    return AttemptOutcome(one.lease, Ending.RELEASED)


def crashed(one: Claimed) -> AttemptOutcome:
    """Its process died."""
    return AttemptOutcome(one.lease, Ending.CRASHED, error=JobError("CHILD_DIED", "exit status 9"))


async def finished(store: JobStore, *ends: AttemptOutcome) -> list[State]:
    """Record ends, none of which may be refused or a repeat; the states they led to."""
    answers: list[Finished] = [good(answer) for answer in await store.finish(ends)]
    assert not any(answer.repeated for answer in answers)
    return [answer.state for answer in answers]


def wish(job: Job | str, *, grace: timedelta = 30 * SECOND, reason: str = "moved", by: str = "ada") -> CancelJob:
    """A wish to cancel."""
    return CancelJob(job if isinstance(job, str) else job.job_id, reason, by, grace)


async def cancelled(store: JobStore, job: Job, **words: Any) -> Job:
    """Cancel it; the job that stands now."""
    [answer] = await store.cancel(job.queue, [wish(job, **words)])
    return good(answer)


async def extended(store: JobStore, answer: Sequence[Extended | TocsinError]) -> Extended:
    """The one answer, which must not be a refusal."""
    [one] = answer
    return good(one)


#: The states that a job can be placed in.
IDLE = tuple(state for state in State if state is not State.ACTIVE)

#: The states a job can be brought into. BLOCKED comes with jobs that wait for other jobs.
STATES = tuple(state for state in State if state is not State.BLOCKED)


async def standing(store: JobStore, state: State, job_id: str | None = None, **words: Any) -> tuple[Job, Lease | None]:
    """A new job in a state, with the lease of its last attempt if it had one. No other job may be WAITING."""
    when = {"when": HOUR} if state is State.SCHEDULED else {}
    [job] = await added(store, a_draft(job_id, **{**when, **words}))
    lease = None
    if state in {State.ACTIVE, State.COMPLETED, State.FAILED}:
        one = await claimed_one(store, queue=job.queue, types=[job.spec.type])
        lease = one.lease
        if state is State.COMPLETED:
            await finished(store, completed(one))
        elif state is State.FAILED:
            await finished(store, failed(one))
    elif state is State.CANCELLED:
        await cancelled(store, job)
    job = await read(store, job)
    assert job.state is state
    return job, lease


async def pages(store: JobStore, query: ListQuery) -> list[Page]:
    """All pages from this one on."""
    found = [await store.page(query)]
    while (after := found[-1].next) is not None:
        assert len(found) < 1000, "paging does not end"
        found.append(await store.page(replace(query, after=after, skip=0)))
    return found


async def listed(store: JobStore, query: ListQuery) -> list[str]:
    """Ids on all pages from this one on."""
    return [job.job_id for page in await pages(store, query) for job in page.jobs]


def a_query(after: Position | None = None, *, queue: str = "q", limit: int = 50, **words: Any) -> ListQuery:
    """A list of queue "q": words of JobFilter and of ListQuery mixed."""
    of_query = {name: words.pop(name) for name in ("order", "skip", "view") if name in words}
    return ListQuery(queue, JobFilter(**words), limit=limit, after=after, **of_query)
