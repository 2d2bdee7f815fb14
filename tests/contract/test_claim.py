"""JobStore.claim."""

from __future__ import annotations

from datetime import timedelta

import pytest
from tocsin_server.domain.commands import UpdateJob
from tocsin_server.domain.job import Job, New, Payload, View
from tocsin_server.domain.job_errors import JobExists
from tocsin_server.domain.lease import Claim, Extension
from tocsin_server.domain.queues import QueueSettings
from tocsin_server.domain.states import State
from tocsin_server.store.interface import JobStore

from contract.backdating import Backdate
from contract.builders import (
    HOUR,
    INT32,
    MINUTE,
    NOW,
    RAW,
    SECOND,
    a_draft,
    a_request,
    added,
    claimed,
    claimed_one,
    completed,
    failed,
    finished,
    good,
    read,
    released,
)
from contract.conftest import Contents
from contract.providers import Provider


async def a_claim(
    store: JobStore, limit: int = 10, request: bytes | None = None, repeated: bool = False, /, **types: int
) -> Claim:
    """One call and no more."""
    return await store.claim(
        "q", types or {"t": limit}, limit, lease=MINUTE, request=request or a_request(), repeated=repeated
    )


def names(claim: Claim) -> list[str]:
    return [one.job.job_id for one in claim.claimed]


async def test_a_claimed_job_is_active_and_comes_whole(store: JobStore) -> None:
    [job] = await added(store, a_draft("a", body=b"\0x", tags={"k": "v"}, timeout=SECOND))
    before = await store.ping()
    claim = await a_claim(store)
    after = await store.ping()

    [one] = claim.claimed
    assert before <= claim.now <= after
    assert one.job == await read(store, "a", View.FULL)
    assert (one.job.state, one.job.attempt) == (State.ACTIVE, 1)
    assert one.job.start_time is not None
    assert before <= one.job.start_time <= after
    assert one.job.spec.payload == Payload(RAW, b"\0x")
    assert one.job.schedule_time == job.schedule_time
    assert one.job.revision > job.revision
    assert (one.lease.queue, one.lease.job_id, one.lease.attempt) == ("q", "a", 1)
    assert one.lease.token


async def test_each_run_has_a_number_and_a_token_of_its_own(store: JobStore) -> None:
    await added(store, a_draft("a"))
    runs = []
    for _ in range(4):
        one = await claimed_one(store)
        runs.append(one.lease)
        await finished(store, released(one))
    assert [lease.attempt for lease in runs] == [1, 2, 3, 4]
    assert len({lease.token for lease in runs}) == 4


async def test_jobs_of_one_claim_have_different_tokens(store: JobStore) -> None:
    await added(store, *(a_draft() for _ in range(50)))
    assert len({one.lease.token for one in await claimed(store)}) == 50


async def test_an_active_job_is_not_claimed_again(store: JobStore) -> None:
    await added(store, a_draft("a"), a_draft("b"))
    assert names(await a_claim(store, 1)) == ["a"]
    assert names(await a_claim(store)) == ["b"]
    assert names(await a_claim(store)) == []


async def test_the_best_comes_first(store: JobStore, backdate: Backdate) -> None:
    await added(store, a_draft("low", priority=-1), a_draft("first"), a_draft("second"), a_draft("high", priority=1))
    [overdue] = await added(store, a_draft("overdue", when=HOUR))
    [high_overdue] = await added(store, a_draft("high overdue", when=HOUR, priority=1))
    backdate.due(overdue, by=2 * HOUR)
    backdate.due(high_overdue, by=2 * HOUR)
    order = [one.job.job_id for one in await claimed(store)]
    assert order == ["high overdue", "high", "overdue", "first", "second", "low"]


@pytest.mark.parametrize("types", [["t", "u"], ["u", "t"], [f"x{i}" for i in range(40)] + ["u", "t"]])
async def test_the_best_of_several_types_comes_first(store: JobStore, types: list[str]) -> None:
    drafts = [a_draft(f"{i}", type="tu"[i % 2], priority=-(i // 4)) for i in range(20)]
    await added(store, *drafts)
    assert [one.job.job_id for one in await claimed(store, types=types)] == [f"{i}" for i in range(20)]


async def test_priorities_as_far_apart_as_they_go(store: JobStore) -> None:
    priorities = [0, INT32[0], INT32[1], INT32[1] - 1, INT32[0] + 1, 2**24 + 1, 2**24]
    await added(store, *(a_draft(priority=priority) for priority in priorities))
    found = [one.job.spec.priority for one in await claimed(store)]
    assert found == sorted(priorities, reverse=True)


async def test_only_the_types_asked_for_are_taken(store: JobStore) -> None:
    await added(store, a_draft("a", type="email", priority=9), a_draft("b", type="Email"), a_draft("c", type="sms"))
    assert names(await a_claim(store, sms=10, e=10)) == ["c"]
    assert names(await a_claim(store, email=1)) == ["a"]
    assert [one.job.job_id for one in await claimed(store, types=["Email"])] == ["b"]


async def test_no_types_no_jobs(store: JobStore) -> None:
    await added(store, a_draft())
    claim = await store.claim("q", {}, 10, lease=MINUTE, request=a_request())
    assert (claim.claimed, claim.more) == ((), False)


async def test_each_type_has_a_limit_of_its_own(store: JobStore) -> None:
    await added(store, *(a_draft(f"e{i}", type="email", priority=9) for i in range(5)))
    await added(store, *(a_draft(f"s{i}", type="sms") for i in range(5)))
    assert names(await a_claim(store, 4, email=2, sms=10)) == ["e0", "e1", "s0", "s1"]
    assert names(await a_claim(store, 10, email=1, sms=0)) == ["e2"]
    assert names(await a_claim(store, 10, email=10, sms=1)) == ["e3", "e4", "s2"]


async def test_the_limit_holds_over_all_types(store: JobStore) -> None:
    await added(store, *(a_draft(type=f"t{i % 30}") for i in range(90)))
    for limit in (1, 7, 29):
        claim = await a_claim(store, limit, **{f"t{i}": 1000 for i in range(30)})
        assert len(claim.claimed) == limit


async def test_hundreds_are_had_by_claiming_while_there_are_more(store: JobStore) -> None:
    jobs = await added(store, *(a_draft(body=bytes(200)) for _ in range(260)))
    found = await claimed(store, 260)
    assert [one.job.job_id for one in found] == [job.job_id for job in jobs]
    assert (await a_claim(store)).claimed == ()


async def test_a_call_that_brings_fewer_than_there_are_says_more(store: JobStore) -> None:
    await added(store, *(a_draft(body=bytes(40_000)) for _ in range(300)))
    found = 0
    while (claim := await a_claim(store, 1000)).more:
        found += len(claim.claimed)
    assert found + len(claim.claimed) == 300
    assert not (await a_claim(store, 1000)).more


@pytest.mark.parametrize("due", [60, 150, 350])
async def test_all_that_is_due_is_made_waiting_before_the_best_is_leased(
    store: JobStore, backdate: Backdate, due: int
) -> None:
    jobs = await added(store, *(a_draft(f"{i}", when=HOUR + i * SECOND, priority=i) for i in range(due)))
    backdate.due(*jobs, by=24 * HOUR)
    leased: list[str] = []
    promoted = 0
    while not leased:
        claim = await a_claim(store, 1)
        leased += names(claim)
        waiting = (await store.figures("q")).total(State.WAITING)
        assert waiting + len(leased) - promoted <= 100
        promoted = waiting + len(leased)
        assert claim.more or leased
    assert leased == [f"{due - 1}"]
    assert promoted == due


@pytest.mark.parametrize("types", ["t", "tu"])
async def test_many_that_are_due_at_once_come_in_order(store: JobStore, backdate: Backdate, types: str) -> None:
    """Whether or not a store takes the long way that priorities may need."""
    jobs = await added(store, *(a_draft(f"{i}", type="tu"[i % 2], when=HOUR + i * SECOND) for i in range(130)))
    await added(store, a_draft("low", priority=-1), a_draft("now"), a_draft("high", priority=1))
    backdate.due(*jobs, by=24 * HOUR)
    order = [one.job.job_id for one in await claimed(store, types=list(types))]
    assert order == ["high", *(f"{i}" for i in range(0, 130, 3 - len(types))), "now", "low"]


async def test_due_jobs_that_are_not_leased_do_not_hide_those_behind_them(store: JobStore, backdate: Backdate) -> None:
    jobs = await added(store, *(a_draft(f"{i}", type="tu"[i >= 120], when=HOUR + i * SECOND) for i in range(121)))
    backdate.due(*jobs, by=24 * HOUR)
    leased: list[str] = []
    for _ in range(4):
        leased += names(await a_claim(store, 10, t=0, u=10))
    assert leased == ["120"]
    assert names(await a_claim(store, 3, t=3)) == ["0", "1", "2"]


async def test_a_priority_counts_among_due_jobs_however_it_came(store: JobStore, backdate: Backdate) -> None:
    jobs = await added(store, *(a_draft(f"{i}", when=HOUR + i * SECOND) for i in range(130)))
    await store.update("q", [UpdateJob("129", priority=1), UpdateJob("128", priority=-1)])
    backdate.due(*jobs, by=24 * HOUR)
    order = [one.job.job_id for one in await claimed(store, 130)]
    assert order == ["129", *(f"{i}" for i in range(128)), "128"]


async def test_a_due_job_is_told_of_as_waiting_and_then_as_active(store: JobStore, backdate: Backdate) -> None:
    jobs = await added(store, *(a_draft(f"{i}", when=HOUR) for i in range(3)))
    backdate.due(*jobs, by=2 * HOUR)
    cursor = await store.cursor("q")
    assert len(await claimed(store)) == 3
    batch = await store.events("q", cursor, wait=timedelta(0))
    told = {job_id: [e.job for e in batch.events if e.job.job_id == job_id] for job_id in "012"}
    for job in jobs:
        assert [(one.state, one.revision, one.attempt) for one in told[job.job_id]] == [
            (State.WAITING, job.revision + 1, 0),
            (State.ACTIVE, job.revision + 2, 1),
        ]
    assert (await store.figures("q")).counts == {State.ACTIVE: {"t": 3}}


async def test_a_job_that_is_due_later_is_left(store: JobStore) -> None:
    await added(store, a_draft("later", when=HOUR, priority=9), a_draft("now"))
    assert names(await a_claim(store)) == ["now"]
    assert (await read(store, "later")).state is State.SCHEDULED


async def test_no_job_starts_before_its_time(store: JobStore) -> None:
    [job] = await added(store, a_draft(when=timedelta(milliseconds=30)))
    while not (found := await claimed(store)):
        assert await store.ping() <= job.schedule_time + SECOND
    [one] = found
    assert one.job.start_time is not None
    assert one.job.start_time >= job.schedule_time == one.job.schedule_time


async def test_a_paused_queue_leases_nothing(store: JobStore) -> None:
    await added(store, a_draft("a"))
    await store.put_settings("q", QueueSettings(), paused=True)
    claim = await a_claim(store)
    assert (claim.claimed, claim.more) == ((), False)
    await added(store, a_draft("b"))
    assert await claimed(store) == []
    await store.put_settings("q", QueueSettings(), paused=False)
    assert [one.job.job_id for one in await claimed(store)] == ["a", "b"]


async def test_what_runs_when_a_queue_is_paused_ends_as_usual(store: JobStore) -> None:
    await added(store, a_draft("a"), a_draft("b"), a_draft("c"))
    first, second, third = await claimed(store)
    await store.put_settings("q", QueueSettings(), paused=True)
    [answer] = await store.extend([Extension(first.lease)], MINUTE)
    good(answer)
    assert await finished(store, completed(first), failed(second, NOW), released(third)) == [
        State.COMPLETED,
        State.WAITING,
        State.WAITING,
    ]


async def test_the_same_claim_repeated_brings_what_it_leased(store: JobStore) -> None:
    await added(store, *(a_draft(f"{i}", body=b"x", priority=-i) for i in range(6)))
    request = a_request()
    first = await a_claim(store, 3, request)
    again = await a_claim(store, 3, request, True)
    assert sorted(names(again)) == names(first) == ["0", "1", "2"]
    assert {one.lease.token for one in again.claimed} == {one.lease.token for one in first.claimed}
    assert {one.job.attempt for one in again.claimed} == {1}
    assert {one.job.spec.payload for one in again.claimed} == {Payload(RAW, b"x")}
    assert names(await a_claim(store, 3)) == ["3", "4", "5"]
    assert await finished(store, *map(completed, again.claimed)) == [State.COMPLETED] * 3


async def test_a_repeated_claim_whose_first_brought_nothing_is_a_claim(store: JobStore) -> None:
    request = a_request()
    assert (await a_claim(store, 3, request)).claimed == ()
    await added(store, a_draft("a"))
    assert names(await a_claim(store, 3, request, True)) == ["a"]


async def test_a_repeated_claim_does_not_bring_back_what_has_ended(store: JobStore) -> None:
    await added(store, a_draft("a"), a_draft("b"))
    request = a_request()
    first = await a_claim(store, 2, request)
    await finished(store, completed(first.claimed[0]))
    assert names(await a_claim(store, 2, request, True)) == ["b"]


async def test_a_large_claim_repeated_brings_all_of_it(store: JobStore) -> None:
    await added(store, *(a_draft() for _ in range(300)))
    request = a_request()
    first = await a_claim(store, 250, request)
    again = await a_claim(store, 250, request, True)
    assert {one.lease.token for one in first.claimed} <= {one.lease.token for one in again.claimed}


async def test_a_repeated_claim_of_a_paused_queue_brings_what_it_leased(store: JobStore) -> None:
    await added(store, a_draft("a"))
    request = a_request()
    await a_claim(store, 3, request)
    await store.put_settings("q", QueueSettings(), paused=True)
    assert names(await a_claim(store, 3, request, True)) == ["a"]


async def test_a_retried_job_keeps_its_place(store: JobStore) -> None:
    await added(store, *(a_draft(name) for name in "abc"))
    one = await claimed_one(store)
    await finished(store, released(one))
    assert [each.job.job_id for each in await claimed(store)] == ["a", "b", "c"]


@pytest.mark.parametrize("lease", [SECOND, timedelta(hours=12)])
async def test_a_lease_lasts_as_long_as_asked(store: JobStore, lease: timedelta) -> None:
    await added(store, a_draft())
    one = await claimed_one(store, lease=lease)
    end = (await store.ticks(["q"]))["q"].next_lease_end
    assert one.job.start_time is not None
    assert end == one.job.start_time + lease


async def test_claiming_where_nothing_is_changes_nothing(store: JobStore, contents: Contents) -> None:
    before = contents()
    claim = await store.claim("never", {"t": 5}, 5, lease=MINUTE, request=a_request())
    assert (claim.claimed, claim.more) == ((), False)
    assert contents() == before
    await added(store, a_draft(when=HOUR), a_draft(type="other"))
    before = contents()
    assert (await a_claim(store)).claimed == ()
    assert contents() == before


async def test_two_stores_share_the_work(store: JobStore, provider: Provider) -> None:
    jobs: list[Job] = await added(store, *(a_draft() for _ in range(100)))
    async with provider.store() as other:
        found: list[str] = []
        for turn in range(20):
            found += [one.job.job_id for one in await claimed([store, other][turn % 2], 5)]
    assert found == [job.job_id for job in jobs]


async def test_progress_is_of_the_attempt_that_reported_it(store: JobStore) -> None:
    await added(store, a_draft("a"))
    one = await claimed_one(store)
    await store.extend([Extension(one.lease, (0.9, "nearly"))], MINUTE)
    await finished(store, failed(one, NOW))
    assert (await claimed_one(store)).job.progress is None


async def test_jobs_are_added_and_claimed_in_one(store: JobStore) -> None:
    await added(store, a_draft("low", priority=-1), a_draft("high", priority=1), a_draft("other", type="u"))
    drafts = [a_draft("a"), a_draft("low"), a_draft("b", when=HOUR)]
    answers, claim = await store.add_and_claim(drafts, {"t": 5}, 5, lease=MINUTE, request=a_request())
    assert isinstance(claim, Claim)
    assert names(claim) == ["high", "a", "low"]
    assert [type(answer) for answer in answers] == [New, JobExists, New]
    assert [(await read(store, one)).state for one in ("a", "b", "other")] == [
        State.ACTIVE,
        State.SCHEDULED,
        State.WAITING,
    ]
    await finished(store, *(completed(one) for one in claim.claimed))


async def test_more_than_one_call_carries_are_added_and_claimed_too(store: JobStore) -> None:
    drafts = [a_draft(f"{n}", body=bytes(20_000)) for n in range(130)]
    answers, claim = await store.add_and_claim(drafts, {"t": 5}, 5, lease=MINUTE, request=a_request())
    assert isinstance(claim, Claim)
    assert names(claim) == ["0", "1", "2", "3", "4"]
    assert len(answers) == 130
