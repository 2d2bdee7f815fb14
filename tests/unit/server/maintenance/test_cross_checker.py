"""What parted from the jobs is mended a step at a time, counted and told; a store in which all fits is left alone."""

from __future__ import annotations

import pytest
import structlog
from contract.builders import HOUR, NOW, a_draft, added
from redis import Redis
from support.eventually import until_async
from support.spied_store import SpiedStore
from tocsin_server.maintenance.cross_checker import CrossChecker
from tocsin_server.store.redis.keys import Keys

ROOT = Keys("tests").root("q")


@pytest.fixture
def checker(spied: SpiedStore) -> CrossChecker:
    return CrossChecker(spied.as_store, every=NOW, rest=NOW)


async def test_what_is_mended_is_counted_and_told(
    spied: SpiedStore, checker: CrossChecker, valkey_client: Redis
) -> None:
    await added(spied.as_store, a_draft("a", when=HOUR), a_draft("b", when=HOUR))
    assert valkey_client.delete(f"{ROOT}:s") == 1
    assert valkey_client.hset(f"{ROOT}:n", "4:ghost", 7) == 1

    async def so() -> bool:
        await checker.step()
        return checker.mended["jobs out of the row of their state"] == 2 and checker.mended["wrong counters"] == 1

    with structlog.testing.capture_logs() as logs:
        await until_async(so, within=10, what=f"mended: {checker.mended}")
    told = {(line["event"], line["log_level"], line["what"]) for line in logs if line["event"] == "store_mended"}
    assert ("store_mended", "warning", "wrong counters") in told
    assert (await spied.as_store.ticks(["q"]))["q"].next_due is not None


async def test_a_step_is_made_once_in_its_time_whatever_ticks_come(spied: SpiedStore) -> None:
    checker = CrossChecker(spied.as_store, every=HOUR)
    for _ in range(5):
        checker.hear({})
        assert await checker.step() is False
    assert spied.calls["check"] == 1


async def test_after_a_pass_it_rests(spied: SpiedStore) -> None:
    checker = CrossChecker(spied.as_store, every=NOW, rest=HOUR)
    for _ in range(5):
        await checker.step()
    assert spied.calls["check"] < 5


async def test_a_row_longer_than_a_call_looks_at_is_looked_at_to_its_end(
    spied: SpiedStore, checker: CrossChecker, valkey_client: Redis
) -> None:
    await added(spied.as_store, *(a_draft(when=HOUR) for _ in range(1500)))
    ghosts = {(10_000 + number).to_bytes(6, "big"): 1 for number in range(1500)}
    valkey_client.zadd(f"{ROOT}:s", ghosts)  # type: ignore[arg-type]  # members are bytes, too

    async def gone() -> bool:
        await checker.step()
        return valkey_client.zcard(f"{ROOT}:s") == 1500

    await until_async(gone, within=20, what="entries of no job")
