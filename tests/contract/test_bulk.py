"""Retrying and deleting all that match a filter, over either store."""

from __future__ import annotations

import pytest
from tocsin_server.domain.filters import JobFilter
from tocsin_server.domain.states import ENDED, State
from tocsin_server.operations.matching_jobs import MatchingJobs
from tocsin_server.store.interface import JobStore

from contract.builders import read, standing

FAILED = frozenset({State.FAILED})


@pytest.fixture
def bulk(store: JobStore) -> MatchingJobs:
    return MatchingJobs(store, step=2)


async def five(store: JobStore) -> None:
    """Five dead letters, of which two have another type and one a tag, and a job that is not due."""
    for number in range(5):
        tags = {"tenant": "7"} if number == 0 else {}
        await standing(store, State.FAILED, str(number), type="u" if number > 2 else "t", tags=tags)
    await standing(store, State.SCHEDULED, "later", type="t")


async def states(store: JobStore) -> str:
    return "".join([(await read(store, str(number))).state.name[0] for number in range(5)])


async def test_dead_letters_of_a_type_are_due_again_and_no_others(store: JobStore, bulk: MatchingJobs) -> None:
    await five(store)
    matching = JobFilter(states=FAILED, types=frozenset({"t"}))
    assert await bulk.retry("q", matching, dry_run=True) == 3
    assert await states(store) == "FFFFF"
    assert await bulk.retry("q", matching, dry_run=False) == 3
    assert await states(store) == "WWWFF"
    job = await read(store, "0")
    assert (job.failures, job.attempt > 0, len(job.errors) > 0) == (0, True, True)
    assert await bulk.retry("q", matching, dry_run=False) == 0
    assert (await read(store, "later")).state is State.SCHEDULED


async def test_by_a_tag_one_alone_is_found(store: JobStore, bulk: MatchingJobs) -> None:
    await five(store)
    tagged = JobFilter(states=FAILED, tags={"tenant": "7"})
    assert await bulk.retry("q", tagged, dry_run=True) == 1
    assert await bulk.retry("q", tagged, dry_run=False) == 1
    assert await states(store) == "WFFFF"


async def test_ended_jobs_that_match_are_deleted_and_no_others(store: JobStore, bulk: MatchingJobs) -> None:
    await five(store)
    matching = JobFilter(states=ENDED, types=frozenset({"t"}))
    assert await bulk.purge("q", matching, dry_run=True) == 3
    assert await bulk.purge("q", matching, dry_run=False) == 3
    assert dict((await store.figures("q")).counts) == {State.FAILED: {"u": 2}, State.SCHEDULED: {"t": 1}}
