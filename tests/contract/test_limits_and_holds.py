"""Limits beside what else keeps a job from beginning: a hold, and a collapse that ends it."""

from __future__ import annotations

import pytest
from tocsin_server.domain.commands import HoldJob, ReleaseJob, UpdateJob
from tocsin_server.domain.explaining import HeldBack
from tocsin_server.store.interface import JobStore

from contract.builders import HOUR, added, claimed, completed, failed, finished, read, released
from contract.test_limits import KEY, a_limit, ids, keyed, limited


async def test_a_held_job_has_no_place_and_is_in_nobodys_way(store: JobStore) -> None:
    await limited(store, a_limit(KEY, 1))
    await added(store, *(keyed(f"{i}", "k") for i in range(3)))
    [first] = await claimed(store)
    await store.update("q", [HoldJob("1")])
    await finished(store, completed(first))
    [third] = await claimed(store)
    assert third.job.job_id == "2"
    await store.update("q", [ReleaseJob("1")])
    assert await claimed(store) == []
    await finished(store, completed(third))
    assert ids(await claimed(store)) == ["1"]


async def test_a_place_that_is_kept_lets_nothing_begin_beside_another_that_runs(store: JobStore) -> None:
    """It was kept among one type's jobs alone, and now jobs of all types share it."""
    await limited(store, a_limit(KEY, 1, type="u"))
    await added(store, keyed("kept", "k", type="u"), keyed("runs", "k"))
    both = await claimed(store, types=("t", "u"))
    await finished(store, *(released(one) for one in both if one.job.job_id == "kept"))
    await limited(store, a_limit(KEY, 1))
    assert ids(await claimed(store, types=("t", "u"))) == []
    [waits] = await store.explain("q", ["kept"])
    assert waits is not None
    assert isinstance(waits.hindrance, HeldBack)
    await finished(store, *(completed(one) for one in both if one.job.job_id == "runs"))
    assert ids(await claimed(store, types=("t", "u"))) == ["kept"]


async def test_a_job_that_keeps_its_place_has_the_priority_that_it_is_given(store: JobStore) -> None:
    await limited(store, a_limit(KEY, 1))
    await added(store, keyed("kept", "k"))
    await finished(store, *(released(one) for one in await claimed(store)))
    await store.update("q", [UpdateJob("kept", priority=-1)])
    await added(store, keyed("other", "o"))
    assert ids(await claimed(store)) == ["other", "kept"]


@pytest.mark.parametrize("limit", [1, 2])
async def test_a_retry_that_is_held_keeps_its_place_until_it_is_let_go(store: JobStore, limit: int) -> None:
    await limited(store, a_limit(KEY, limit))
    await added(store, keyed("0", "k"), keyed("1", "k"))
    [first] = await claimed(store, 1)
    await finished(store, failed(first, HOUR))
    await store.update("q", [HoldJob("0")])
    assert (await read(store, "0")).end_time is None
    assert ids(await claimed(store)) == ([] if limit == 1 else ["1"])
    await store.update("q", [ReleaseJob("0")])
    await store.delete("q", ["0"], ended_only=False)
    assert ids(await claimed(store)) == (["1"] if limit == 1 else [])
