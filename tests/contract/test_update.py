"""JobStore.update: UpdateJob, RunJob, RetryJob."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from tocsin_server.domain import limits
from tocsin_server.domain.commands import Change, RetryJob, RunJob, UpdateJob
from tocsin_server.domain.errors import TooLarge
from tocsin_server.domain.job import Job, Payload, Retention, Terms
from tocsin_server.domain.job_errors import JobNotFound, RevisionMismatch, WrongState
from tocsin_server.domain.lease import Extension
from tocsin_server.domain.retry import Backoff, RetryPolicy
from tocsin_server.domain.states import State
from tocsin_server.store.interface import JobStore

from contract.backdating import Backdate
from contract.builders import (
    HOUR,
    INT32,
    LATER,
    MINUTE,
    NOW,
    RAW,
    SECOND,
    a_draft,
    a_query,
    added,
    claimed,
    claimed_one,
    completed,
    crashed,
    failed,
    finished,
    good,
    listed,
    read,
    refused,
    standing,
)
from contract.conftest import Contents


async def updated(store: JobStore, change: Change) -> Job:
    [answer] = await store.update("q", [change])
    return good(answer)


async def test_only_what_is_named_is_changed(store: JobStore) -> None:
    [job] = await added(store, a_draft("a", when=LATER, priority=3, body=b"old", tags={"k": "v"}, timeout=MINUTE))
    whole = await read(store, "a")

    await updated(store, UpdateJob("a", priority=4))
    after = await read(store, "a")
    assert after.spec.priority == 4
    assert (after.spec.payload, after.spec.tags, after.spec.terms.timeout) == (whole.spec.payload, {"k": "v"}, MINUTE)
    assert (after.schedule_time, after.create_time, after.arrival) == (LATER, job.create_time, job.arrival)

    await updated(store, UpdateJob("a", payload=Payload(12, b"\0new and longer")))
    after = await read(store, "a")
    assert (after.spec.payload, after.spec.priority) == (Payload(12, b"\0new and longer"), 4)
    assert (after.schedule_time, after.spec.tags) == (LATER, {"k": "v"})

    await updated(store, UpdateJob("a", when=LATER + HOUR))
    after = await read(store, "a")
    assert (after.schedule_time, after.spec.priority) == (LATER + HOUR, 4)
    assert after.spec.payload == Payload(12, b"\0new and longer")


async def test_terms_are_changed_whole_and_nothing_else_is(store: JobStore) -> None:
    await added(store, a_draft("a", when=LATER, priority=3, body=b"old", tags={"k": "v", "both": "1"}, timeout=MINUTE))
    other = await added(store, a_draft("b", when=LATER, tags={"k": "v"}))
    before = await read(store, "a")
    terms = Terms(RetryPolicy(7, Backoff.FIXED, SECOND, MINUTE, 0.5), None, Retention(HOUR, MINUTE))
    tags = {"both": "1", "new": "2"}
    answer = await updated(store, UpdateJob("a", terms=terms, tags=tags))
    after = await read(store, "a")
    spec = after.spec
    assert (spec.terms, spec.tags) == (terms, tags)
    assert replace(after, spec=before.spec, revision=before.revision) == before
    assert (spec.payload, spec.priority, spec.type) == (before.spec.payload, 3, before.spec.type)
    assert replace(answer.spec, payload=spec.payload) == spec
    assert await listed(store, a_query(tags={"k": "v"})) == [other[0].job_id]
    assert await listed(store, a_query(tags={"new": "2"})) == await listed(store, a_query(tags={"both": "1"})) == ["a"]

    much = Payload(12, bytes(3_000))
    await updated(store, UpdateJob("a", when=NOW, payload=much, terms=replace(terms, timeout=HOUR), tags={}))
    after = await read(store, "a")
    assert (after.state, after.spec.payload, after.spec.terms.timeout, after.spec.tags) == (
        State.WAITING,
        much,
        HOUR,
        {},
    )
    assert await listed(store, a_query(tags={"both": "1"})) == []
    one = await claimed_one(store)
    assert (one.job.job_id, one.job.spec.payload, one.job.spec.terms.timeout) == ("a", much, HOUR)
    await finished(store, failed(one))
    ended = await read(store, "a")
    assert ended.end_time is not None
    tick = (await store.ticks(["q"]))["q"]
    assert tick.next_expiry == ended.end_time + MINUTE


async def test_several_changes_of_terms_in_one_call_leave_the_last(store: JobStore) -> None:
    [job] = await added(store, a_draft("a", when=LATER, body=b"kept", tags={"n": "0"}))
    terms = replace(job.spec.terms, timeout=MINUTE)
    changes = [UpdateJob("a", terms=terms, tags={"n": n}) for n in ("1", "2")]
    answers = await store.update("q", changes)
    assert [good(answer).revision for answer in answers] == [job.revision + 1, job.revision + 2]
    spec = (await read(store, "a")).spec
    assert (spec.tags, spec.terms.timeout, spec.payload) == (
        {"n": "2"},
        MINUTE,
        Payload(RAW, b"kept"),
    )
    await added(store, a_draft("b", when=LATER, tags={"n": "0"}))
    for n, names in (("0", ["b"]), ("1", []), ("2", ["a"])):
        assert await listed(store, a_query(tags={"n": n})) == names
        assert await listed(store, a_query(tags={"n": n}, skip=len(names))) == []


async def test_terms_that_make_a_job_too_large_are_refused_and_change_nothing(store: JobStore) -> None:
    [job] = await added(store, a_draft("a", when=LATER, body=bytes(limits.JOB_SPEC_BYTES - 100)))
    before = await read(store, "a")
    tags = {"k": "v" * 200}
    refusals = await store.update("q", [UpdateJob("a", priority=9), UpdateJob("a", terms=job.spec.terms, tags=tags)])
    assert refused(refusals[1], TooLarge).size > limits.JOB_SPEC_BYTES
    after = await read(store, "a")
    assert (after.spec.priority, after.spec.tags, after.spec.payload) == (9, {}, before.spec.payload)


async def test_a_shorter_payload_leaves_nothing_of_the_longer(store: JobStore) -> None:
    await added(store, a_draft("a", body=b"x" * 5000))
    for body in (b"short", b""):
        await updated(store, UpdateJob("a", payload=Payload(RAW, body)))
        assert (await read(store, "a")).spec.payload == Payload(RAW, body)


async def test_answers_have_no_payload(store: JobStore) -> None:
    await added(store, a_draft("a", body=b"x"))
    assert (await updated(store, UpdateJob("a", payload=Payload(RAW, b"y")))).spec.payload is None


@pytest.mark.parametrize("when", [LATER, HOUR], ids=["a time", "a delay"])
async def test_a_later_time_makes_a_waiting_job_scheduled(store: JobStore, when: datetime | timedelta) -> None:
    await added(store, a_draft("a"))
    now = await store.ping()
    job = await updated(store, UpdateJob("a", when=when))
    assert job.state is State.SCHEDULED
    assert job.schedule_time == when or now + HOUR <= job.schedule_time <= await store.ping() + HOUR
    assert await claimed(store) == []


@pytest.mark.parametrize("when", [NOW, LATER - 200 * 365 * timedelta(days=1) // 2], ids=["a delay of 0", "the past"])
async def test_a_time_that_has_come_makes_a_scheduled_job_waiting(store: JobStore, when: datetime | timedelta) -> None:
    await added(store, a_draft("a", when=HOUR))
    before = await store.ping()
    job = await updated(store, UpdateJob("a", when=when))
    assert job.state is State.WAITING
    assert before <= job.schedule_time <= await store.ping()
    assert [one.job.job_id for one in await claimed(store)] == ["a"]


@pytest.mark.parametrize("when", [HOUR + timedelta(microseconds=1), LATER + timedelta(microseconds=999_001)])
async def test_new_times_round_up(store: JobStore, when: datetime | timedelta) -> None:
    await added(store, a_draft("a"))
    job = await updated(store, UpdateJob("a", when=when))
    assert job.schedule_time.microsecond % 1000 == 0
    if isinstance(when, datetime):
        assert job.schedule_time == LATER + SECOND


async def test_a_new_priority_counts_in_the_next_claim(store: JobStore) -> None:
    await added(store, *(a_draft(name) for name in "abc"))
    await updated(store, UpdateJob("c", priority=INT32[1]))
    await updated(store, UpdateJob("a", priority=INT32[0]))
    assert [one.job.job_id for one in await claimed(store)] == ["c", "b", "a"]


async def test_the_revision_grows_with_each_change(store: JobStore) -> None:
    [job] = await added(store, a_draft("a"))
    revisions = [job.revision]
    for priority in (1, 2, 3):
        revisions.append((await updated(store, UpdateJob("a", priority=priority))).revision)
    assert revisions == sorted(set(revisions))


async def test_a_revision_that_is_given_must_match(store: JobStore, contents: Contents) -> None:
    [job] = await added(store, a_draft("a"))
    second = await updated(store, UpdateJob("a", priority=1, revision=job.revision))
    before = contents()
    [answer] = await store.update("q", [UpdateJob("a", priority=2, when=HOUR, revision=job.revision)])
    refusal = refused(answer, RevisionMismatch)
    assert (refusal.expected, refusal.found) == (job.revision, second.revision)
    assert contents() == before
    assert (await updated(store, UpdateJob("a", priority=2, revision=second.revision))).spec.priority == 2


@pytest.mark.parametrize("revision", [0, -1, 2**31, 2**63 - 1])
async def test_a_revision_that_never_was_does_not_match(store: JobStore, revision: int) -> None:
    await added(store, a_draft("a"))
    [answer] = await store.update("q", [UpdateJob("a", priority=2, revision=revision)])
    assert refused(answer, RevisionMismatch).expected == revision


async def test_a_payload_that_makes_the_spec_too_large_is_refused(store: JobStore, contents: Contents) -> None:
    await added(store, a_draft("a", body=b"old"))
    before = contents()
    [answer] = await store.update("q", [UpdateJob("a", payload=Payload(RAW, bytes(limits.JOB_SPEC_BYTES + 1)))])
    assert refused(answer, TooLarge).limit == limits.JOB_SPEC_BYTES
    assert contents() == before


async def test_changes_of_one_job_are_made_in_order(store: JobStore) -> None:
    await added(store, a_draft("a", when=HOUR))
    answers = await store.update("q", [UpdateJob("a", priority=1), RunJob("a"), UpdateJob("a", when=MINUTE)])
    assert [(good(one).spec.priority, good(one).state) for one in answers] == [
        (1, State.SCHEDULED),
        (1, State.WAITING),
        (1, State.SCHEDULED),
    ]


async def test_each_of_a_batch_is_answered_in_order(store: JobStore) -> None:
    await standing(store, State.COMPLETED, "done")
    await added(store, *(a_draft(f"job-{i}") for i in range(300)))
    changes: list[Change] = [UpdateJob(f"job-{i}", priority=i) for i in range(300)]
    changes[7:7] = [RunJob("never"), RetryJob("done")]
    answers = await store.update("q", changes)
    assert refused(answers.pop(7), JobNotFound).job_id == "never"
    assert refused(answers.pop(7), WrongState).state is State.COMPLETED
    assert [good(answer).spec.priority for answer in answers] == list(range(300))


async def test_run_makes_it_due_now(store: JobStore) -> None:
    [job] = await added(store, a_draft("a", when=HOUR))
    before = await store.ping()
    ran = await updated(store, RunJob("a"))
    assert before <= ran.schedule_time <= await store.ping()
    assert (ran.arrival, ran.create_time) == (job.arrival, job.create_time)


async def test_run_ends_the_wait_between_attempts(store: JobStore) -> None:
    await added(store, a_draft("a"))
    await finished(store, failed(await claimed_one(store), HOUR))
    ran = await updated(store, RunJob("a"))
    assert (ran.state, ran.failures, ran.attempt) == (State.WAITING, 1, 1)
    assert (await claimed_one(store)).job.attempt == 2


async def test_retry_counts_anew_and_keeps_errors_attempt_and_arrival(store: JobStore, backdate: Backdate) -> None:
    [job] = await added(store, a_draft("a"))
    await finished(store, failed(await claimed_one(store), NOW))
    one = await claimed_one(store)
    backdate.lease(one.job, by=HOUR)
    await store.reap("q")
    await finished(store, failed(await claimed_one(store)))
    before = await read(store, "a")
    assert (before.state, before.failures) == (State.FAILED, 2)

    await updated(store, RetryJob("a"))

    after = await read(store, "a")
    assert (after.state, after.failures, after.crashes) == (State.WAITING, 0, 0)
    assert (after.errors, after.attempt, after.arrival) == (before.errors, 3, job.arrival)
    assert after.create_time == job.create_time
    assert after.schedule_time > before.schedule_time
    assert (after.end_time, after.cancel) == (None, None)
    assert (await claimed_one(store)).job.attempt == 4


async def test_retry_of_poison_runs_three_times_again(store: JobStore) -> None:
    await added(store, a_draft("a"))
    for _ in range(limits.MAX_CRASHES):
        await finished(store, crashed(await claimed_one(store)))
    assert (await read(store, "a")).state is State.FAILED
    await updated(store, RetryJob("a"))
    states = [(await finished(store, crashed(await claimed_one(store))))[0] for _ in range(limits.MAX_CRASHES)]
    assert states == [State.WAITING, State.WAITING, State.FAILED]


async def test_retry_of_a_cancelled_job_keeps_its_place_in_the_list(store: JobStore) -> None:
    await standing(store, State.CANCELLED, "a")
    await added(store, a_draft("b"))
    await updated(store, RetryJob("a"))
    assert await listed(store, a_query()) == ["b", "a"]
    assert (await store.figures("q")).counts == {State.WAITING: {"t": 2}}


async def test_a_running_job_goes_on_after_run_and_retry(store: JobStore) -> None:
    await added(store, a_draft("a"))
    one = await claimed_one(store)
    await store.update("q", [RunJob("a"), RetryJob("a")])
    [answer] = await store.extend([Extension(one.lease)], MINUTE)
    good(answer)
    assert await finished(store, completed(one)) == [State.COMPLETED]


async def test_changing_in_an_unused_queue_makes_nothing(store: JobStore, contents: Contents) -> None:
    before = contents()
    for answer in await store.update("never", [UpdateJob("a", priority=1), RunJob("a"), RetryJob("a")]):
        refused(answer, JobNotFound)
    assert contents() == before
