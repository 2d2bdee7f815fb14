"""JobStore.get."""

from __future__ import annotations

from tocsin_server.domain.job import JobError, View
from tocsin_server.domain.lease import Extension
from tocsin_server.domain.states import State
from tocsin_server.store.interface import JobStore

from contract.builders import (
    MINUTE,
    a_draft,
    a_spec,
    added,
    claimed_one,
    completed,
    failed,
    finished,
    read,
    standing,
)
from contract.conftest import Contents


async def test_jobs_come_in_the_order_asked_and_none_where_none_stands(store: JobStore) -> None:
    await added(store, *(a_draft(name) for name in "abc"))
    found = await store.get("q", ["c", "x", "a", "c", ""], View.BASIC)
    assert [job.job_id if job else None for job in found] == ["c", None, "a", "c", None]


async def test_no_ids_no_jobs(store: JobStore) -> None:
    assert await store.get("q", [], View.FULL) == []


async def test_many_ids_are_found_in_one_call(store: JobStore) -> None:
    names = [f"job-{i}" for i in range(1000)]
    await added(store, *map(a_draft, names))
    found = await store.get("q", names[::-1], View.BASIC)
    assert [job.job_id if job else None for job in found] == names[::-1]


async def test_a_queue_that_was_never_used_has_no_jobs(store: JobStore, contents: Contents) -> None:
    before = contents()
    assert await store.get("never", ["a"], View.FULL) == [None]
    assert contents() == before


async def test_a_job_of_another_queue_is_not_found(store: JobStore) -> None:
    await added(store, a_draft("a", queue="q"))
    assert await store.get("q2", ["a"], View.BASIC) == [None]


async def test_reading_changes_nothing(store: JobStore, contents: Contents) -> None:
    jobs = [(await standing(store, state, state.name))[0] for state in (State.FAILED, State.ACTIVE, State.SCHEDULED)]
    before = contents()
    await store.get("q", [job.job_id for job in jobs], View.FULL)
    assert contents() == before


async def test_basic_has_no_payload_no_result_and_no_traces(store: JobStore) -> None:
    await added(store, a_draft("a", body=b"payload", tags={"k": "v"}))
    await finished(store, failed(await claimed_one(store), MINUTE * 0, type="E", message="m", trace="t"))
    one = await claimed_one(store)
    await store.extend([Extension(one.lease, (0.5, "half"))], MINUTE)
    await finished(store, completed(one, b"result"))

    full, basic = await read(store, "a", View.FULL), await read(store, "a", View.BASIC)

    assert full.spec == a_spec(payload=full.spec.payload, tags={"k": "v"})
    assert full.spec.payload is not None
    assert full.result == b"result"
    [error] = full.errors
    assert (error.type, error.message, error.trace, error.attempt) == ("E", "m", "t", 1)
    assert basic.spec == a_spec(tags={"k": "v"})
    assert basic.result is None
    assert basic.errors == (JobError("E", "m", "", error.time, 1),)
    assert basic.progress == full.progress
    assert basic.progress is not None
