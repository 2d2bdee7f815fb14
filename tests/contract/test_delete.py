"""JobStore.delete."""

from __future__ import annotations

import secrets
from datetime import datetime

import pytest
from tocsin_server.domain.job import New, OnConflict, Replaced, View
from tocsin_server.domain.job_errors import JobNotFound, LeaseLost, WrongState
from tocsin_server.domain.states import State
from tocsin_server.store.interface import JobStore

from contract.backdating import Backdate
from contract.builders import (
    HOUR,
    NOW,
    a_draft,
    a_query,
    added,
    claimed,
    completed,
    listed,
    outcomes,
    read,
    refused,
    standing,
)
from contract.conftest import Contents
from contract.providers import Provider


@pytest.mark.parametrize("state", [State.COMPLETED, State.FAILED, State.CANCELLED])
async def test_an_ended_job_is_gone_and_its_id_free_at_once(store: JobStore, state: State) -> None:
    await standing(store, state, "a", tags={"k": "v"})
    assert await store.delete("q", ["a"]) == [None]
    assert await store.get("q", ["a"], View.BASIC) == [None]
    assert await listed(store, a_query()) == await listed(store, a_query(tags={"k": "v"})) == []
    assert (await store.figures("q")).counts == {}
    assert await outcomes(store, a_draft("a")) == [New]


@pytest.mark.parametrize("state", [State.COMPLETED, State.FAILED, State.CANCELLED])
async def test_figures_keep_up_to_which_end_jobs_were_deleted(
    store: JobStore, backdate: Backdate, state: State
) -> None:
    """By DeleteJob or by REPLACE; not what retention took, and not what had not ended."""

    async def deleted() -> tuple[datetime | None, datetime | None]:
        figures = await store.figures("q")
        return figures.done_deleted, figures.failed_deleted

    jobs = [await standing(store, state, name) for name in ("expired", "early", "late", "replaced")]
    ends = [one.end_time for one, _ in jobs]
    assert ends == sorted(end for end in ends if end is not None)
    await standing(store, State.WAITING, "waits")
    assert await store.delete("q", ["waits"], ended_only=False) == [None]
    backdate.end(jobs[0][0], by=400 * 24 * HOUR)
    assert await store.trim("q", completed_max=10, failed_max=10) == 1
    assert await deleted() == (None, None)

    def only(end: datetime | None) -> tuple[datetime | None, datetime | None]:
        return (None, end) if state is State.FAILED else (end, None)

    await store.delete("q", ["late"])
    assert await deleted() == only(ends[2])
    await store.delete("q", ["early"])
    assert await deleted() == only(ends[2])
    assert await outcomes(store, a_draft("replaced", on_conflict=OnConflict.REPLACE)) == [Replaced]
    assert await deleted() == only(ends[3])


@pytest.mark.parametrize("state", [State.SCHEDULED, State.WAITING])
async def test_one_that_has_not_ended_is_deleted_only_when_that_is_meant(store: JobStore, state: State) -> None:
    await standing(store, state, "a")
    [answer] = await store.delete("q", ["a"])
    assert refused(answer, WrongState).state is state
    assert await store.delete("q", ["a"], ended_only=False) == [None]
    assert await store.get("q", ["a"], View.BASIC) == [None]
    assert await claimed(store) == []


@pytest.mark.parametrize("ended_only", [True, False])
async def test_a_running_job_is_never_deleted(store: JobStore, contents: Contents, ended_only: bool) -> None:
    job, _ = await standing(store, State.ACTIVE, "a")
    before = contents()
    [answer] = await store.delete("q", ["a"], ended_only=ended_only)
    assert refused(answer, WrongState).state is State.ACTIVE
    assert contents() == before
    assert await read(store, "a") == job


async def test_each_of_a_batch_is_answered_in_order(store: JobStore) -> None:
    await standing(store, State.COMPLETED, "done")
    await added(store, a_draft("waits"))
    first, missing, second, waits = await store.delete("q", ["done", "never", "done", "waits"])
    assert first is None
    assert refused(missing, JobNotFound).job_id == "never"
    refused(second, JobNotFound)
    refused(waits, WrongState)


async def test_many_are_deleted_in_one_call(store: JobStore) -> None:
    jobs = await added(store, *(a_draft(when=HOUR if i % 2 else NOW, tags={"k": str(i % 3)}) for i in range(250)))
    assert await store.delete("q", [job.job_id for job in jobs], ended_only=False) == [None] * 250
    assert (await store.figures("q")).counts == {}
    assert await listed(store, a_query()) == await listed(store, a_query(tags={"k": "1"})) == []


async def test_a_repeated_outcome_of_a_deleted_job_is_refused(store: JobStore) -> None:
    await added(store, a_draft("a"))
    [one] = await claimed(store)
    await store.finish([completed(one)])
    await store.delete("q", ["a"])
    [late] = await store.finish([completed(one)])
    refused(late, LeaseLost)
    await added(store, a_draft("a"))
    [late] = await store.finish([completed(one)])
    refused(late, LeaseLost)
    assert (await read(store, "a")).state is State.WAITING


async def test_what_is_deleted_leaves_nothing_behind(provider: Provider) -> None:
    async with provider.store(events_max=10) as store:

        async def size_after_a_round() -> int:
            names = [secrets.token_hex(8) for _ in range(40)]
            await added(
                store, *(a_draft(name, tags={"k": name}, body=b"x") for name in names), *(a_draft() for _ in "ab")
            )
            await store.finish([completed(one, b"result") for one in await claimed(store)])
            made = [job.job_id for job in (await store.page(a_query(limit=1000))).jobs]
            assert await store.delete("q", made) == [None] * 42
            return sum(map(len, provider.contents().values()))

        first = await size_after_a_round()
        assert max([await size_after_a_round() for _ in range(3)]) < first + 1000
