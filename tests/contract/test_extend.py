"""JobStore.extend. What it says of cancels stands in test_cancel.py."""

from __future__ import annotations

from datetime import timedelta

import pytest
from tocsin_server.domain.job import View
from tocsin_server.domain.job_errors import LeaseLost
from tocsin_server.domain.lease import Extended, Extension, Lease
from tocsin_server.store.interface import JobStore

from contract.backdating import Backdate
from contract.builders import (
    HOUR,
    MINUTE,
    NOW,
    SECOND,
    End,
    a_draft,
    added,
    all_extended,
    claimed,
    claimed_one,
    completed,
    crashed,
    failed,
    finished,
    read,
    refused,
    released,
)
from contract.conftest import Contents

ENDS: dict[str, End] = {
    "completed": completed,
    "failed": failed,
    "to be tried again": lambda one: failed(one, NOW),
    "released": released,
    "crashed": crashed,
}


async def test_the_lease_ends_that_long_from_now(store: JobStore) -> None:
    await added(store, a_draft())
    one = await claimed_one(store, lease=MINUTE)
    before = await store.ping()
    [answer] = await store.extend([Extension(one.lease)], HOUR)
    assert isinstance(answer, Extended)
    assert answer.cancel_reason is None
    end = (await store.ticks(["q"]))["q"].next_lease_end
    assert end is not None
    assert end == answer.lease_end
    assert before + HOUR <= end <= await store.ping() + HOUR


async def test_a_lease_can_be_made_shorter(store: JobStore) -> None:
    await added(store, a_draft())
    one = await claimed_one(store, lease=HOUR)
    await store.extend([Extension(one.lease)], 10 * SECOND)
    end = (await store.ticks(["q"]))["q"].next_lease_end
    assert end is not None
    assert end <= await store.ping() + 10 * SECOND


async def test_a_lease_that_ran_out_and_was_not_taken_back_goes_on(store: JobStore, backdate: Backdate) -> None:
    await added(store, a_draft())
    one = await claimed_one(store)
    backdate.lease(one.job, by=HOUR)
    assert all_extended(await store.extend([Extension(one.lease)], MINUTE))
    assert len(await store.reap("q")) == 0


async def test_progress_is_recorded(store: JobStore) -> None:
    await added(store, a_draft("a"))
    one = await claimed_one(store)
    before = await store.ping()
    await store.extend([Extension(one.lease, (0.1 + 0.2, "dr\u00fcben \0"))], MINUTE)
    job = await read(store, "a", View.BASIC)
    assert job.progress is not None
    assert (job.progress.fraction, job.progress.message) == (0.1 + 0.2, "dr\u00fcben \0")
    assert job.progress.update_time is not None
    assert before <= job.progress.update_time <= await store.ping()


async def test_the_last_progress_stands(store: JobStore) -> None:
    await added(store, a_draft("a"))
    one = await claimed_one(store)
    await store.extend([Extension(one.lease, (0.5, "half"))], MINUTE)
    await store.extend([Extension(one.lease, (0.25, ""))], MINUTE)
    await store.extend([Extension(one.lease)], MINUTE)
    await finished(store, completed(one))
    progress = (await read(store, "a")).progress
    assert progress is not None
    assert (progress.fraction, progress.message) == (0.25, "")


async def test_two_extensions_of_one_lease_are_taken_in_order(store: JobStore) -> None:
    await added(store, a_draft("a"))
    one = await claimed_one(store)
    twice = [Extension(one.lease, (0.5, "first")), Extension(one.lease, (0.6, "second"))]
    assert all_extended(await store.extend(twice, MINUTE))
    progress = (await read(store, "a")).progress
    assert progress is not None
    assert progress.message == "second"


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS.keys())
async def test_after_its_end_an_attempt_has_no_lease(store: JobStore, contents: Contents, end: End) -> None:
    await added(store, a_draft("a"))
    one = await claimed_one(store)
    await finished(store, end(one))
    before = contents()
    [answer] = await store.extend([Extension(one.lease, (1.0, "late"))], MINUTE)
    refusal = refused(answer, LeaseLost)
    assert (refusal.queue, refusal.job_id, refusal.attempt) == ("q", "a", 1)
    assert contents() == before


async def test_a_lease_that_was_taken_back_is_lost(store: JobStore, backdate: Backdate) -> None:
    await added(store, a_draft("a"))
    first = await claimed_one(store)
    backdate.lease(first.job, by=HOUR)
    await store.reap("q")
    second = await claimed_one(store)
    lost, stands = await store.extend([Extension(first.lease), Extension(second.lease)], MINUTE)
    refused(lost, LeaseLost)
    assert all_extended([stands])


@pytest.mark.parametrize("token", [b"", b"x", bytes(8), bytes(14), b"\xff" * 14, b"\0" * 100])
async def test_a_token_of_nobody_is_no_lease(store: JobStore, contents: Contents, token: bytes) -> None:
    await added(store, a_draft("a"))
    await claimed_one(store)
    before = contents()
    [answer] = await store.extend([Extension(Lease("q", "a", 1, token))], MINUTE)
    refused(answer, LeaseLost)
    assert contents() == before


async def test_many_leases_of_several_queues_are_answered_in_order(store: JobStore) -> None:
    await added(store, *(a_draft(f"{i}", queue=f"q{i % 3}") for i in range(90)))
    leases = [one.lease for queue in ("q0", "q1", "q2") for one in await claimed(store, queue=queue)]
    leases.sort(key=lambda lease: int(lease.job_id))
    answers = await store.extend([Extension(lease, (int(lease.job_id) / 90, lease.job_id)) for lease in leases], HOUR)
    assert len(answers) == 90
    assert all_extended(answers)
    for number in (0, 1, 2, 44, 88, 89):
        progress = (await read(store, f"{number}", queue=f"q{number % 3}")).progress
        assert progress is not None
        assert progress.message == f"{number}"


async def test_a_part_of_a_millisecond_is_not_cut(store: JobStore) -> None:
    await added(store, a_draft())
    one = await claimed_one(store)
    before = await store.ping()
    await store.extend([Extension(one.lease)], SECOND + timedelta(microseconds=1))
    end = (await store.ticks(["q"]))["q"].next_lease_end
    assert end is not None
    assert end - before >= SECOND + timedelta(milliseconds=1)
