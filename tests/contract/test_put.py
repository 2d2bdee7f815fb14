"""JobStore.put: what is placed, what stands already, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from tocsin_server.domain import limits
from tocsin_server.domain.errors import QuotaExceeded, StoreFull, TooLarge
from tocsin_server.domain.job import (
    Cancel,
    Job,
    JobError,
    Payload,
    Progress,
    Put,
    Retention,
    View,
)
from tocsin_server.domain.job_errors import JobActive
from tocsin_server.domain.retry import Backoff, RetryPolicy
from tocsin_server.domain.states import State
from tocsin_server.store.interface import JobStore

from contract.builders import (
    EARLIER,
    HOUR,
    IDLE,
    LATER,
    MILLISECOND,
    MINUTE,
    NOW,
    SECOND,
    a_draft,
    a_job,
    a_query,
    added,
    claimed,
    good,
    listed,
    placed,
    read,
    refused,
    standing,
)
from contract.conftest import Contents
from contract.providers import Provider

CREATED, KEPT, SAME, REPLACED = Put.CREATED, Put.KEPT, Put.SAME, Put.REPLACED

_ERRORS = tuple(JobError("E", f"nö {n}", "trace\n" * n, EARLIER + n * SECOND, n) for n in range(10))
_PROGRESS = Progress(0.25, "half of half", EARLIER + MINUTE)
_CANCEL = Cancel("moved", "ada", 3 * SECOND, EARLIER + SECOND, EARLIER + MINUTE, EARLIER + HOUR)

#: Nothing about it is as a new job has it.
FULL_OF_LIFE = a_job(
    "käse \U0001f514",
    State.CANCELLED,
    arrival=7,
    type="mail",
    priority=-5,
    payload=Payload(12, bytes(range(256))),
    retry=RetryPolicy(7, Backoff.FIXED, SECOND, MINUTE, 0.1 + 0.2),
    timeout=MINUTE,
    retention=Retention(limits.MAX_RETENTION, limits.MAX_RETENTION),
    tags={"k": "v=w", "customer": "Zoë"},
    life={
        "attempt": 9,
        "failures": 4,
        "crashes": 2,
        "revision": 77,
        "errors": _ERRORS,
        "progress": _PROGRESS,
        "result": b"\0\xff",
        "cancel": _CANCEL,
        "fired": True,
    },
)


@pytest.mark.parametrize("state", IDLE)
async def test_a_job_stands_just_as_it_stood_elsewhere(store: JobStore, state: State) -> None:
    job = a_job(state=state, arrival=3, body=b"x", tags={"k": "v"})
    assert await placed(store, job) == [CREATED]
    assert await read(store, job) == job
    assert await listed(store, a_query(states=frozenset({state}), tags={"k": "v"})) == ["a"]
    assert (await store.figures("q")).counts == {state: {"t": 1}}


async def test_a_job_that_a_schedule_made_is_another_than_one_of_its_name(store: JobStore) -> None:
    await placed(store, a_job("s@1"))
    fired = a_job("s@1", life={"fired": True})
    assert await placed(store, fired, over=True) == [REPLACED]
    assert await placed(store, fired, over=True) == [SAME]
    assert (await read(store, "s@1")).fired


async def test_every_field_of_a_job_is_kept(store: JobStore) -> None:
    assert await placed(store, FULL_OF_LIFE) == [CREATED]
    assert await read(store, FULL_OF_LIFE) == FULL_OF_LIFE


async def test_of_many_errors_the_first_and_the_last_nine_are_kept(store: JobStore) -> None:
    errors = tuple(JobError("E", f"{n}", "", EARLIER, n) for n in range(30))
    job = a_job(state=State.FAILED, life={"errors": errors})
    assert await placed(store, job) == [CREATED]
    assert [error.message for error in (await read(store, job)).errors] == ["0", *(f"{n}" for n in range(21, 30))]
    assert await placed(store, job, over=True) == [SAME]


async def test_finer_times_round_up_as_those_of_a_new_job_do(store: JobStore) -> None:
    odd = timedelta(microseconds=1)
    job = a_job(state=State.SCHEDULED, life={"create_time": EARLIER + odd, "schedule_time": LATER + odd})
    await placed(store, job)
    found = await read(store, job)
    assert (found.create_time, found.schedule_time) == (EARLIER + MILLISECOND, LATER + MILLISECOND)


@pytest.mark.parametrize("state", State)
async def test_an_id_that_stands_is_kept(store: JobStore, contents: Contents, state: State) -> None:
    if state is State.BLOCKED:
        await placed(store, a_job(state=state, body=b"old"))
    else:
        await standing(store, state, "a", body=b"old")
    before = contents()
    assert await placed(store, a_job(body=b"new"), a_job(body=b"newer")) == [KEPT, KEPT]
    assert contents() == before


@pytest.mark.parametrize("job", [FULL_OF_LIFE, a_job(arrival=7), a_job(state=State.SCHEDULED), a_job(body=b"")])
async def test_what_stands_just_so_is_not_touched(store: JobStore, contents: Contents, job: Job) -> None:
    await placed(store, job)
    before = contents()
    assert await placed(store, job, replace(job, arrival=0), over=True) == [SAME, SAME]
    assert contents() == before


def _spec(**fields: Any) -> Job:
    return replace(FULL_OF_LIFE, spec=replace(FULL_OF_LIFE.spec, **fields))


def _terms(**fields: Any) -> Job:
    return _spec(terms=replace(FULL_OF_LIFE.spec.terms, **fields))


def _life(**fields: Any) -> Job:
    return replace(FULL_OF_LIFE, **fields)


#: In each of these one thing is otherwise.
OTHERWISE = {
    "type": _spec(type="sms"),
    "payload kind": _spec(payload=Payload(13, bytes(range(256)))),
    "longer payload": _spec(payload=Payload(12, bytes(range(256)) + b"x")),
    "shorter payload": _spec(payload=Payload(12, bytes(range(255)))),
    "payload": _spec(payload=Payload(12, bytes(range(255)) + b"\0")),
    "no payload": _spec(payload=None),
    "priority": _spec(priority=5),
    "attempts": _terms(retry=replace(FULL_OF_LIFE.spec.terms.retry, max_attempts=8)),
    "backoff": _terms(retry=replace(FULL_OF_LIFE.spec.terms.retry, backoff=Backoff.EXPONENTIAL)),
    "first delay": _terms(retry=replace(FULL_OF_LIFE.spec.terms.retry, initial_delay=SECOND + MILLISECOND)),
    "longest delay": _terms(retry=replace(FULL_OF_LIFE.spec.terms.retry, max_delay=MINUTE + MILLISECOND)),
    "jitter": _terms(retry=replace(FULL_OF_LIFE.spec.terms.retry, jitter=0.3)),
    "common retry": _terms(retry=RetryPolicy()),
    "timeout": _terms(timeout=MINUTE + MILLISECOND),
    "no timeout": _terms(timeout=None),
    "retention of completed": _terms(retention=Retention(NOW, limits.MAX_RETENTION)),
    "retention of failed": _terms(retention=Retention(limits.MAX_RETENTION, NOW)),
    "a tag": _spec(tags={"k": "v=x", "customer": "Zoë"}),
    "a tag's name": _spec(tags={"l": "v=w", "customer": "Zoë"}),
    "a tag more": _spec(tags={"k": "v=w", "customer": "Zoë", "l": ""}),
    "a tag less": _spec(tags={"k": "v=w"}),
    "state": _life(state=State.COMPLETED),
    "create_time": _life(create_time=EARLIER + MILLISECOND),
    "schedule_time": _life(schedule_time=EARLIER + MILLISECOND),
    "start_time": _life(start_time=EARLIER + MINUTE),
    "no start_time": _life(start_time=None),
    "end_time": _life(end_time=EARLIER + HOUR),
    "attempt": _life(attempt=10),
    "failures": _life(failures=5),
    "crashes": _life(crashes=1),
    "revision": _life(revision=76),
    "no errors": _life(errors=()),
    "an error less": _life(errors=_ERRORS[1:]),
    "an error's type": _life(errors=(replace(_ERRORS[0], type="F"), *_ERRORS[1:])),
    "an error's message": _life(errors=(replace(_ERRORS[0], message="na"), *_ERRORS[1:])),
    "an error's trace": _life(errors=(*_ERRORS[:-1], replace(_ERRORS[-1], trace="short"))),
    "an error's time": _life(errors=(replace(_ERRORS[0], time=LATER), *_ERRORS[1:])),
    "an error's attempt": _life(errors=(replace(_ERRORS[0], attempt=8), *_ERRORS[1:])),
    "no progress": _life(progress=None),
    "progress": _life(progress=replace(_PROGRESS, fraction=0.26)),
    "progress message": _life(progress=replace(_PROGRESS, message="all")),
    "progress time": _life(progress=replace(_PROGRESS, update_time=LATER)),
    "no result": _life(result=None),
    "empty result": _life(result=b""),
    "result": _life(result=b"\0\xfe"),
    "no cancel": _life(cancel=None),
    "reason": _life(cancel=replace(_CANCEL, reason="over")),
    "by": _life(cancel=replace(_CANCEL, by="bob")),
    "grace": _life(cancel=replace(_CANCEL, grace=MINUTE)),
    "asked": _life(cancel=replace(_CANCEL, ask_time=EARLIER)),
    "delivered": _life(cancel=replace(_CANCEL, deliver_time=None)),
    "obeyed": _life(cancel=replace(_CANCEL, obey_time=LATER)),
}


async def test_what_is_otherwise_in_anything_is_replaced(store: JobStore) -> None:
    before, after = [], []
    for arrival, (name, job) in enumerate(OTHERWISE.items(), start=1):
        before.append(replace(FULL_OF_LIFE, job_id=name, arrival=arrival))
        after.append(replace(job, job_id=name, arrival=arrival))
    await placed(store, *before)
    for jobs in (after, before):
        answers = await placed(store, *jobs, over=True)
        assert [job.job_id for job, answer in zip(jobs, answers, strict=True) if answer is not REPLACED] == []
        assert await store.get("q", list(OTHERWISE), View.FULL) == jobs
    assert (await store.figures("q")).counts == {FULL_OF_LIFE.state: {FULL_OF_LIFE.spec.type: len(OTHERWISE)}}


async def test_a_tags_place_makes_no_difference(store: JobStore) -> None:
    await placed(store, a_job(tags={"k": "v", "l": "w"}))
    assert await placed(store, a_job(tags={"l": "w", "k": "v"}), over=True) == [SAME]
    assert await placed(store, a_job(tags={"l": "v", "k": "w"}), over=True) == [REPLACED]


@pytest.mark.parametrize("state", IDLE)
@pytest.mark.parametrize("before", IDLE)
async def test_another_job_of_the_same_id_is_replaced_where_it_stands(
    store: JobStore, state: State, before: State
) -> None:
    await placed(store, replace(FULL_OF_LIFE, job_id="a", state=before))
    await placed(store, a_job("b", arrival=9))
    job = a_job(state=state, arrival=7, body=b"new", type="sms", tags={"l": "x"}, life={"revision": 1})
    cursor = await store.cursor("q")
    assert await placed(store, job, over=True) == [REPLACED]
    assert await read(store, job) == job
    assert await listed(store, a_query()) == ["b", "a"]
    assert await listed(store, a_query(tags={"customer": "Zoë"})) == []
    assert await listed(store, a_query(tags={"l": "x"}, states=frozenset({state}))) == ["a"]
    assert (await store.figures("q")).total(state) == 1 + (state is State.WAITING)
    events = (await store.events("q", cursor, wait=NOW)).events
    assert [(event.job.job_id, event.job.state, event.deleted) for event in events] == [("a", state, False)]


async def test_a_job_that_comes_to_another_arrival_is_deleted_and_placed_anew(store: JobStore) -> None:
    await placed(store, a_job(arrival=5, tags={"k": "v"}), a_job("b", arrival=6))
    cursor = await store.cursor("q")
    job = a_job(arrival=2, tags={"k": "v"})
    assert await placed(store, job, over=True) == [REPLACED]
    assert await read(store, job) == job
    assert await listed(store, a_query()) == ["b", "a"]
    assert await listed(store, a_query(tags={"k": "v"})) == ["a"]
    gone, come = (await store.events("q", cursor, wait=NOW)).events
    assert (gone.job.job_id, gone.deleted, come.job.arrival, come.deleted) == ("a", True, 2, False)


async def test_a_job_that_runs_is_not_replaced_and_harms_no_other(store: JobStore) -> None:
    running, _ = await standing(store, State.ACTIVE, "a")
    refusal, answer = await store.put([a_job(), a_job("b")], over=True)
    assert refused(refusal, JobActive).job_id == "a"
    assert good(answer) is CREATED
    assert await read(store, "a") == running


WITHOUT_TIME = JobError("E", "m")
UNPLACEABLE = {
    "it runs": a_job(state=State.ACTIVE),
    "ended, but when?": a_job(state=State.COMPLETED, life={"end_time": None}),
    "an error without time": a_job(life={"errors": (WITHOUT_TIME,)}),
    "progress without time": a_job(life={"progress": Progress(0, "")}),
    "before 1970": a_job(life={"create_time": limits.FIRST_TIME - SECOND}),
    "after 9999": a_job(life={"schedule_time": limits.LAST_TIME + timedelta(microseconds=1)}),
    "a negative count": a_job(life={"failures": -1}),
    "a count too large": a_job(life={"revision": 1 << 32}),
    "an arrival too large": a_job(arrival=1 << 48),
    "a priority too high": a_job(priority=1 << 31),
    "too many attempts": a_job(retry=RetryPolicy(1 << 16)),
    "a type too long": a_job(type="t" * (limits.NAME_CHARACTERS + 1)),
    "too many tags": a_job(tags={f"{n}": "" for n in range(limits.TAGS + 1)}),
    "a tag too long": a_job(tags={"k": "ä" * limits.TAG_VALUE_BYTES}),
}


@pytest.mark.parametrize("wrong", UNPLACEABLE)
async def test_what_can_be_no_job_here_is_a_mistake_of_the_caller(
    store: JobStore, contents: Contents, wrong: str
) -> None:
    before = contents()
    with pytest.raises(ValueError, match="in queue 'q' cannot be placed"):
        await store.put([a_job("b"), UNPLACEABLE[wrong]], over=True)
    assert contents() == before


async def test_the_first_and_last_of_all_times_and_counts_are_placed(store: JobStore) -> None:
    first, last = limits.FIRST_TIME, limits.LAST_TIME
    high = a_job(
        state=State.FAILED,
        arrival=1 << 47,
        retention=Retention(limits.MAX_RETENTION, limits.MAX_RETENTION),
        life={"end_time": last, "attempt": (1 << 32) - 1, "failures": (1 << 16) - 1, "crashes": 255},
    )
    low = a_job("b", State.SCHEDULED, life={"create_time": first, "schedule_time": first + MILLISECOND})
    assert await placed(store, high, low) == [CREATED, CREATED]
    assert await read(store, high) == high
    assert replace(await read(store, low), arrival=0) == low
    tick = (await store.ticks(["q"]))["q"]
    assert (tick.next_due, tick.next_expiry) == (first + MILLISECOND, last)
    assert [one.job.job_id for one in await claimed(store)] == ["b"]
    [after] = await added(store, a_draft("c"))
    assert after.arrival > high.arrival
    assert await listed(store, a_query(limit=1)) == ["c", "b", "a"]


@pytest.mark.parametrize(
    ("life", "field"),
    [
        ({"result": b"\n" * (limits.RESULT_BYTES + 1)}, "result"),
        ({"errors": (JobError("E", "m" * (limits.ERROR_MESSAGE_BYTES + 1), "", EARLIER),)}, "errors.message"),
        ({"errors": (JobError("E", "", "t" * (limits.ERROR_TRACE_BYTES + 1), EARLIER),)}, "errors.trace"),
        ({"progress": Progress(0, "ä" * limits.PROGRESS_MESSAGE_BYTES, EARLIER)}, "progress.message"),
        ({"cancel": Cancel("r" * (limits.REASON_BYTES + 1), "", NOW, EARLIER)}, "cancel.reason"),
        ({}, "job"),
    ],
)
async def test_what_is_too_large_is_refused_and_harms_no_other(
    store: JobStore, life: dict[str, object], field: str
) -> None:
    large = a_job(life=life) if life else a_job(body=bytes(limits.JOB_SPEC_BYTES + 1))
    first, refusal, last = await store.put([a_job("b"), large, a_job("c")], over=False)
    assert refused(refusal, TooLarge).field == field
    assert [good(first), good(last)] == [CREATED, CREATED]
    assert await listed(store, a_query()) == ["c", "b"]


async def test_payloads_and_results_as_large_as_they_may_be_fit_side_by_side(store: JobStore) -> None:
    jobs = [a_job(f"{n}", State.COMPLETED, body=bytes([n]) * limits.JOB_SPEC_BYTES, arrival=n + 1) for n in range(12)]
    jobs = [replace(job, result=bytes(limits.RESULT_BYTES)) for job in jobs]
    assert await placed(store, *jobs) == [CREATED] * 12
    assert await store.get("q", [job.job_id for job in jobs], View.FULL) == jobs
    assert await placed(store, *jobs, over=True) == [SAME] * 12


async def test_a_queue_holds_so_many_types_and_no_more(store: JobStore) -> None:
    await placed(store, *(a_job(f"{n}", type=f"t{n}") for n in range(limits.TYPES_PER_QUEUE)))
    refusal, known = await store.put([a_job(type="one-more"), a_job("b", type="t7")], over=True)
    assert refused(refusal, QuotaExceeded).limit == limits.TYPES_PER_QUEUE
    assert good(known) is CREATED
    assert await store.get("q", ["a"], View.BASIC) == [None]
    assert good((await store.put([a_job(queue="other", type="one-more")], over=True))[0]) is CREATED


async def test_a_full_store_places_nothing(store: JobStore, provider: Provider, contents: Contents) -> None:
    await placed(store, a_job("b"))
    before = contents(counters=False)
    with provider.full(), pytest.raises(StoreFull):
        await store.put([a_job(), a_job("b")], over=False)
    assert contents(counters=False) == before
