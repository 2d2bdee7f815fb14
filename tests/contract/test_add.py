"""JobStore.add."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from tocsin_server.domain import limits
from tocsin_server.domain.commands import UpdateJob
from tocsin_server.domain.conditions import NO_CONDITIONS, Conditions
from tocsin_server.domain.errors import QuotaExceeded, TocsinError
from tocsin_server.domain.job import Added, Draft, Job, Kept, New, OnConflict, Payload, Replaced, Retention, Terms, View
from tocsin_server.domain.job_errors import JobActive, JobExists, LeaseLost
from tocsin_server.domain.lease import Extension
from tocsin_server.domain.retry import Backoff, RetryPolicy
from tocsin_server.domain.states import State
from tocsin_server.store.interface import JobStore

from contract.builders import (
    HOUR,
    INT32,
    MILLISECOND,
    MINUTE,
    NOW,
    RAW,
    SECOND,
    YEAR,
    a_draft,
    a_query,
    a_spec,
    added,
    claimed,
    claimed_one,
    failed,
    finished,
    good,
    listed,
    outcomes,
    read,
    refused,
    standing,
    stands,
)

FAIL, KEEP, REPLACE = OnConflict.FAIL, OnConflict.KEEP, OnConflict.REPLACE
IDS = {
    "braces": "{a}{",
    "colons": ":::a:b:",
    "looks like a key": "tocsin:{q}:j",
    "right to left": "\u200fabc\u202e\u2067",
    "four bytes each": "\U0001f514" * 150,
    "200 code points": "\u00e9" * 200,
    "a space": " ",
    "quotes and backslashes": "'\"\\\\x00 %s {} $1",
    "glob": "*?[a-z]",
    "composed": "\u00e9",
    "decomposed": "e\u0301",
}


async def test_a_job_due_now_is_waiting(store: JobStore) -> None:
    before = await store.ping()
    [job] = await added(store, a_draft("a"))
    after = await store.ping()

    assert (job.state, job.job_id, job.queue) == (State.WAITING, "a", "q")
    assert before <= job.create_time <= after
    assert job.schedule_time == job.create_time
    assert (job.attempt, job.failures, job.crashes) == (0, 0, 0)
    assert (job.start_time, job.end_time, job.errors) == (None, None, ())
    assert (job.progress, job.result, job.cancel) == (None, None, None)


async def test_a_job_due_later_is_scheduled_by_the_clock_of_the_store(store: JobStore) -> None:
    [job] = await added(store, a_draft(when=90 * SECOND))
    assert job.state is State.SCHEDULED
    assert job.schedule_time - job.create_time == 90 * SECOND


@pytest.mark.parametrize(
    "when", [datetime(1970, 1, 1, tzinfo=UTC), datetime(2020, 2, 29, 12, tzinfo=UTC)], ids=["1970", "2020"]
)
async def test_a_time_that_has_passed_means_now(store: JobStore, when: datetime) -> None:
    [job] = await added(store, a_draft(when=when))
    assert (job.state, job.schedule_time) == (State.WAITING, job.create_time)


@pytest.mark.parametrize(
    ("when", "kept"),
    [
        (datetime(2099, 1, 1, 0, 0, 0, 1, UTC), datetime(2099, 1, 1, 0, 0, 0, 1000, UTC)),
        (datetime(2099, 1, 1, 0, 0, 0, 999_001, UTC), datetime(2099, 1, 1, 0, 0, 1, 0, UTC)),
        (datetime(2099, 1, 1, 0, 0, 0, 999_000, UTC), datetime(2099, 1, 1, 0, 0, 0, 999_000, UTC)),
        (limits.LAST_TIME, limits.LAST_TIME),
    ],
    ids=["a microsecond", "just over", "exact", "year 9999"],
)
async def test_times_round_up_to_the_millisecond(store: JobStore, when: datetime, kept: datetime) -> None:
    [job] = await added(store, a_draft(when=when))
    assert (job.state, job.schedule_time) == (State.SCHEDULED, kept)
    assert (await read(store, job)).schedule_time == kept


async def test_delays_round_up_to_the_millisecond(store: JobStore) -> None:
    [job] = await added(store, a_draft(when=HOUR + timedelta(microseconds=1)))
    assert job.schedule_time - job.create_time == HOUR + MILLISECOND


async def test_a_hundred_years_are_not_too_far(store: JobStore) -> None:
    [job] = await added(store, a_draft(when=limits.MAX_DELAY))
    assert job.schedule_time - job.create_time == limits.MAX_DELAY


@pytest.mark.parametrize("when", [YEAR, limits.LAST_TIME], ids=["a year", "year 9999"])
async def test_a_job_far_ahead_is_never_claimed(store: JobStore, when: datetime | timedelta) -> None:
    await store.add([a_draft(when=when)])
    assert await claimed(store) == []


@pytest.mark.parametrize("job_id", IDS.values(), ids=IDS.keys())
async def test_any_id_is_kept_as_it_is(store: JobStore, job_id: str) -> None:
    [job] = await added(store, a_draft(job_id, body=b"it"))
    found = await read(store, job_id)
    assert job.job_id == found.job_id == job_id
    assert found.spec.payload == Payload(RAW, b"it")
    assert await store.delete("q", [job_id], ended_only=False) == [None]
    assert await store.get("q", [job_id], View.BASIC) == [None]


async def test_ids_are_compared_byte_for_byte(store: JobStore) -> None:
    names = ["a", "A", "a ", "\u00e9", "e\u0301", "\uff41", "0", "00"]
    assert await outcomes(store, *map(a_draft, names)) == [New] * len(names)


async def test_an_id_is_unique_within_its_queue_only(store: JobStore) -> None:
    drafts = [a_draft("a", queue="one"), a_draft("a", queue="two"), a_draft("a", queue="one.two")]
    assert await outcomes(store, *drafts) == [New] * 3


async def test_a_made_id_is_a_uuid_in_the_order_of_time(store: JobStore) -> None:
    jobs: list[Job] = []
    while len({job.create_time for job in jobs}) < 3:
        jobs += await added(store, a_draft(body=b"1"), a_draft(body=b"2"))
    ids = [UUID(job.job_id) for job in jobs]
    version = 8 if store.ids_tell_arrival else 7
    assert {(one.version, one.variant) for one in ids} == {(version, "specified in RFC 4122")}
    assert [str(one) for one in ids] == [job.job_id for job in jobs]
    assert len(set(ids)) == len(ids)
    milliseconds = [int(one) >> 80 for one in ids]
    assert milliseconds == sorted(milliseconds)
    if store.ids_tell_arrival:
        assert milliseconds == [round(job.create_time.timestamp() * 1000) for job in jobs]
    else:
        assert ids == sorted(ids)


async def test_a_forged_uuid_is_not_found(store: JobStore) -> None:
    [job] = await added(store, a_draft())
    true = job.job_id
    hexadecimal = [at for at, character in enumerate(true) if character != "-"]
    forged = [true[:at] + format(int(true[at], 16) ^ 1, "x") + true[at + 1 :] for at in hexadecimal]
    forged += [true.upper(), true.replace("-", ""), true + " ", true[:-1]]
    wrong = [one for one in forged if one != true]
    assert await store.get("q", wrong, View.BASIC) == [None] * len(wrong)
    assert await store.get("other", [true], View.BASIC) == [None]
    assert [type(answer) for answer in await store.delete("q", wrong, ended_only=False)].count(type(None)) == 0
    assert (await read(store, true)).job_id == true


async def test_a_made_id_conflicts_like_any_other(store: JobStore) -> None:
    [job] = await added(store, a_draft())
    [exists] = await store.add([a_draft(job.job_id)])
    assert refused(exists, JobExists).state is State.WAITING
    assert await outcomes(store, a_draft(job.job_id, on_conflict=KEEP)) == [Kept]
    assert await outcomes(store, a_draft(job.job_id, on_conflict=REPLACE, priority=7)) == [Replaced]
    assert (await read(store, job)).spec.priority == 7


async def test_a_callers_uuid_never_hides_a_made_one(store: JobStore) -> None:
    [made] = await added(store, a_draft())
    ahead = [made.job_id[:-8] + format(int(made.job_id[-8:], 16) + step, "08x") for step in range(1, 6)]
    await added(store, *map(a_draft, ahead))
    more = await added(store, *(a_draft() for _ in range(8)))
    names = [*ahead, *(job.job_id for job in more)]
    assert len(set(names)) == 13
    assert [(await read(store, name)).job_id for name in names] == names


@pytest.mark.parametrize("kind", [1, 10, 11, 17, 255])
async def test_a_payload_comes_back_byte_for_byte(store: JobStore, kind: int) -> None:
    body = b"\0\xff\r\n$1\r\n\x80" + random.Random(kind).randbytes(5000)
    spec = a_spec(payload=Payload(kind, body))
    [job] = await added(store, Draft(spec, None, NOW))
    assert job.spec.payload is None
    assert (await read(store, job, View.BASIC)).spec.payload is None
    assert (await read(store, job)).spec == spec
    [one] = await claimed(store)
    assert one.job.spec.payload == Payload(kind, body)


async def test_an_empty_payload_is_not_an_absent_one(store: JobStore) -> None:
    with_one, without = await added(store, a_draft(body=b""), a_draft())
    assert (await read(store, with_one)).spec.payload == Payload(RAW, b"")
    assert (await read(store, without)).spec.payload is None


async def test_every_field_of_a_spec_comes_back(store: JobStore) -> None:
    spec = a_spec(
        queue="Q." + "q" * 98,
        type="T-" + "t" * 98,
        priority=-7,
        payload=Payload(RAW, b"x"),
        retry=RetryPolicy(100, Backoff.FIXED, MILLISECOND, limits.MAX_BACKOFF, 0.1 + 0.2),
        timeout=limits.MAX_TIMEOUT,
        retention=Retention(NOW, limits.MAX_RETENTION),
        tags={f"{i:x}" * 63: "\U0001f514" * 50 for i in range(limits.TAGS)} | {"k": "a=b:c#d{e}"},
        conditions=Conditions("\U0001f514" * 50, limits.MAX_WEIGHT),
    )
    [job] = await added(store, Draft(spec, None, NOW))
    assert (await read(store, job)).spec == spec


async def test_changes_of_a_job_leave_its_conditions(store: JobStore) -> None:
    conditions = Conditions("customer", 7)
    for put in (a_draft("a", when=HOUR, tags={"k": "v"}), a_draft("a", conditions=conditions, on_conflict=REPLACE)):
        await added(store, put)
    terms = Terms(RetryPolicy(9), SECOND, Retention(HOUR, HOUR))
    [answer] = await store.update("q", [UpdateJob("a", terms=terms, tags={"n": "0"}, payload=Payload(RAW, b"x"))])
    assert good(answer).spec.conditions == conditions
    assert (await read(store, "a")).spec.conditions == conditions
    assert await listed(store, a_query(tags={"n": "0"})) == ["a"]
    one = await claimed_one(store)
    assert one.job.spec.conditions == conditions
    await finished(store, failed(one, NOW))
    await added(store, a_draft("a", on_conflict=REPLACE))
    assert (await read(store, "a")).spec.conditions is NO_CONDITIONS


async def test_spans_of_a_spec_round_up_to_the_millisecond(store: JobStore) -> None:
    odd = timedelta(microseconds=1)
    retry = RetryPolicy(3, Backoff.FIXED, SECOND + odd, MINUTE + odd, 0.2)
    [job] = await added(store, a_draft(retry=retry, timeout=odd, retention=Retention(odd, HOUR + odd)))
    spec = (await read(store, job)).spec
    assert spec.terms.retry == RetryPolicy(3, Backoff.FIXED, SECOND + MILLISECOND, MINUTE + MILLISECOND, 0.2)
    assert (spec.terms.timeout, spec.terms.retention) == (MILLISECOND, Retention(MILLISECOND, HOUR + MILLISECOND))


@pytest.mark.parametrize("priority", [*INT32, 0, -1, 1])
async def test_priorities_are_kept_exactly(store: JobStore, priority: int) -> None:
    [job] = await added(store, a_draft(priority=priority))
    assert job.spec.priority == (await read(store, job)).spec.priority == priority


async def test_arrival_grows_in_the_order_given(store: JobStore) -> None:
    jobs = await added(store, *(a_draft(when=HOUR if i % 3 else NOW) for i in range(450)))
    arrivals = [job.arrival for job in jobs]
    assert arrivals == sorted(set(arrivals))
    [later] = await added(store, a_draft())
    assert later.arrival > arrivals[-1]


async def test_a_large_batch_over_several_queues_is_answered_in_the_order_asked(store: JobStore) -> None:
    body = random.Random(1).randbytes(9000)
    drafts = [a_draft(f"job-{i}", queue=f"q{i * 7 % 3}", priority=i, body=body + bytes([i % 256])) for i in range(600)]
    answers = await added(store, *drafts)
    assert [(job.queue, job.job_id, job.spec.priority) for job in answers] == [
        (draft.spec.queue, draft.job_id, draft.spec.priority) for draft in drafts
    ]
    for queue in ("q0", "q1", "q2"):
        mine = [draft for draft in drafts if draft.spec.queue == queue]
        found = await store.get(queue, [draft.job_id or "" for draft in mine], View.FULL)
        assert [job.spec if job else None for job in found] == [draft.spec for draft in mine]
        assert [job.arrival for job in answers if job.queue == queue] == [job.arrival for job in found if job]


async def test_payloads_of_a_mebibyte_fit_side_by_side(store: JobStore) -> None:
    bodies = [bytes([i]) * (1 << 20) for i in range(4)]
    jobs = await added(store, *(a_draft(body=body) for body in bodies))
    assert [(await read(store, job)).spec.payload for job in jobs] == [Payload(RAW, body) for body in bodies]


async def test_one_bad_item_harms_no_other(store: JobStore) -> None:
    await added(store, a_draft("a"))
    first, second, third = await store.add([a_draft("b"), a_draft("a"), a_draft("c")])
    assert stands(a_draft("b"), first).job_id == "b"
    assert refused(second, JobExists).job_id == "a"
    assert stands(a_draft("c"), third).job_id == "c"
    assert await listed(store, a_query()) == ["c", "b", "a"]


async def test_two_items_of_one_id_are_taken_in_order(store: JobStore) -> None:
    fail, keep, replace = (a_draft("a", priority=n, on_conflict=mode) for n, mode in enumerate((FAIL, KEEP, REPLACE)))
    created, kept, replaced, exists, last = await store.add([fail, keep, replace, fail, keep])
    assert type(good(created)) is New
    assert (type(good(kept)), stands(keep, kept).spec.priority) == (Kept, 0)
    assert (type(good(replaced)), stands(replace, replaced).spec.priority) == (Replaced, 2)
    assert refused(exists, JobExists).state is State.WAITING
    assert (type(good(last)), stands(keep, last).spec.priority) == (Kept, 2)
    assert [one.job.spec.priority for one in await claimed(store)] == [2]


async def test_two_items_of_one_made_id_are_taken_in_order(store: JobStore) -> None:
    [job] = await added(store, a_draft())
    again = [a_draft(job.job_id, priority=n, on_conflict=REPLACE) for n in (1, 2)]
    assert [one.spec.priority for one in await added(store, *again)] == [1, 2]
    assert [one.job.spec.priority for one in await claimed(store)] == [2]


async def test_two_replacements_of_one_ended_job_leave_one(store: JobStore) -> None:
    await standing(store, State.COMPLETED, "a")
    drafts = [a_draft("a", priority=n, on_conflict=REPLACE) for n in (1, 2, 3)]
    assert await outcomes(store, *drafts) == [Replaced] * 3
    assert [(one.job.job_id, one.job.spec.priority) for one in await claimed(store)] == [("a", 3)]


async def test_replacing_takes_effect_in_claims_lists_and_counts(store: JobStore) -> None:
    await added(store, a_draft("a", type="old", when=HOUR, tags={"k": "old"}, body=b"old"))
    [job] = await added(store, a_draft("a", type="new", tags={"k": "new"}, body=b"new", on_conflict=REPLACE))
    assert (job.state, job.spec.type, job.spec.tags) == (State.WAITING, "new", {"k": "new"})
    assert await listed(store, a_query(types=frozenset({"old"}))) == []
    assert await listed(store, a_query(tags={"k": "old"})) == []
    assert await listed(store, a_query(types=frozenset({"new"}), tags={"k": "new"})) == ["a"]
    assert (await store.figures("q")).counts == {State.WAITING: {"new": 1}}
    [one] = await claimed(store, types=["old", "new"])
    assert one.job.spec.payload == Payload(RAW, b"new")


async def test_two_replacements_in_one_call_leave_the_tags_of_the_last_alone(store: JobStore) -> None:
    await added(store, a_draft("other", when=HOUR, tags={"n": "0"}), a_draft("a", when=HOUR, tags={"n": "0"}))
    drafts = [a_draft("a", when=HOUR, tags={"n": n}, on_conflict=REPLACE) for n in ("1", "2")]
    assert await outcomes(store, *drafts) == [Replaced] * 2
    for n, names in (("0", ["other"]), ("1", []), ("2", ["a"])):
        assert await listed(store, a_query(tags={"n": n})) == names
        assert await listed(store, a_query(tags={"n": n}, skip=1)) == []


async def test_replacing_with_less_leaves_nothing_of_the_old(store: JobStore) -> None:
    await added(store, a_draft("a", body=b"long " * 100, tags={"k": "v" * 100}, timeout=SECOND, priority=5))
    [job] = await added(store, a_draft("a", body=b"", on_conflict=REPLACE))
    assert (await read(store, job)).spec == a_spec(payload=Payload(RAW, b""))


async def test_replacing_a_job_between_attempts_forgets_all_but_their_number(store: JobStore) -> None:
    await added(store, a_draft("a"))
    one = await claimed_one(store)
    await store.extend([Extension(one.lease, (0.5, "half"))], MINUTE)
    await finished(store, failed(one, HOUR, message="old"))

    [job] = await added(store, a_draft("a", on_conflict=REPLACE))

    assert (job.failures, job.errors, job.progress, job.attempt) == (0, (), None, 1)
    assert await read(store, "a", View.BASIC) == job
    [late] = await store.finish([failed(one, HOUR)])
    refused(late, LeaseLost)
    await finished(store, failed(await claimed_one(store), message="new"))
    job = await read(store, "a")
    assert ([error.message for error in job.errors], job.failures, job.attempt) == (["new"], 1, 2)
    assert (job.progress, job.result, job.cancel) == (None, None, None)


async def test_a_refused_replacement_of_a_running_job_leaves_its_lease(store: JobStore) -> None:
    job, lease = await standing(store, State.ACTIVE, "a")
    [answer] = await store.add([a_draft("a", on_conflict=REPLACE)])
    assert refused(answer, JobActive).job_id == "a"
    assert await read(store, "a") == job
    assert lease is not None


async def test_a_queue_holds_no_more_types_than_its_quota(store: JobStore) -> None:
    names = [f"t{i}" for i in range(limits.TYPES_PER_QUEUE)]
    await added(store, *(a_draft(name, type=name) for name in names))

    over: list[Added | TocsinError] = await store.add(
        [a_draft("x", type="count"), a_draft("y", type="t0"), a_draft("z", type="one-more")]
    )
    assert refused(over[0], QuotaExceeded).limit == limits.TYPES_PER_QUEUE
    assert type(good(over[1])) is New
    refused(over[2], QuotaExceeded)
    assert await outcomes(store, a_draft(type="one-more", queue="other")) == [New]

    kept, exists = await store.add(
        [a_draft("y", type="one-more", on_conflict=KEEP), a_draft("y", type="one-more", on_conflict=FAIL)]
    )
    assert type(good(kept)) is Kept
    refused(exists, JobExists)

    assert await store.delete("q", ["t7"], ended_only=False) == [None]
    assert await outcomes(store, a_draft(type="one-more")) == [New]
