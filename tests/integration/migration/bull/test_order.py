"""Waiting jobs run here in the order in which a real worker of Bull or BullMQ runs the same ones."""

from __future__ import annotations

import pytest
from support.redis_backend import RedisBackend
from tocsin_server.migrate.systems.bull.order import LOWERED, RAISED
from tocsin_server.migrate.systems.foreign import Verdict

from integration.migration.bull.conftest import Play, Read
from integration.migration.bull.looking import by_name, job_of, name_of, run_order, taken

BULL = ["plain", "lifo", "priorities", "lifo among priorities", "retried by hand", "stalled", "due by now"]
BULLMQ = ["plain", "lifo", "priorities", "retried by hand", "stalled", "due by now"]


@pytest.mark.parametrize(("system", "kind"), [("bull", kind) for kind in BULL] + [("bullmq", kind) for kind in BULLMQ])
async def test_the_order_is_that_of_a_real_worker(play: Play, read: Read, system: str, kind: str) -> None:
    play(system, "order", kind)
    found = taken(await read(system))
    real = play(system, "run", "order", str(len(found)))
    assert [name_of(job) for job in run_order(found)] == real


async def test_priorities_of_bull_count_down_from_a_million(play: Play, read: Read) -> None:
    play("bull", "order", "priorities")
    found = by_name(await read("bull"))
    numbers = {name: job_of(thing).spec.priority for name, thing in found.items()}
    assert numbers == {
        "priority-1": 1_000_000,
        "priority-3": 999_998,
        "priority-5": 999_996,
        "priority-1000000": 1,
        "priority-2000000": 1,
        "priority-2000001": 1,
        "priority-0": 0,
    }
    told_apart = {name for name, thing in found.items() if thing.verdict is Verdict.TAKEN}
    assert found.keys() - told_apart == {"priority-2000000", "priority-2000001"}


async def test_priorities_of_bullmq_are_below_zero(play: Play, read: Read) -> None:
    play("bullmq", "order", "priorities")
    found = by_name(await read("bullmq"))
    assert {name: -job_of(thing).spec.priority for name, thing in found.items()} == {
        f"priority-{number}": number for number in (0, 1, 3, 5, 2_000_000, 2_097_151)
    }
    assert {thing.verdict for thing in found.values()} == {Verdict.TAKEN}


async def test_a_job_that_its_number_would_misplace_takes_another_and_says_so(play: Play, read: Read) -> None:
    play("bull", "order", "lifo among priorities")
    changed = {name: thing.why for name, thing in by_name(await read("bull")).items() if thing.why}
    # As Bull counts places from the list's end, priority-3 came to stand between the two, and before priority-2.
    assert changed == {"lifo-1": (RAISED,), "lifo-2": (RAISED,), "priority-2": (LOWERED,)}


async def test_a_job_retried_by_hand_gives_its_priority_up(play: Play, read: Read) -> None:
    play("bull", "order", "retried by hand")
    changed = {name: thing.why for name, thing in by_name(await read("bull")).items() if thing.why}
    assert changed == {"urgent": (LOWERED,)}


async def test_what_waits_is_due_when_it_was_added(play: Play, read: Read, source: RedisBackend) -> None:
    play("bull", "order", "plain")
    added = [int(source.client.hget(f"bull:order:{n}", "timestamp") or 0) for n in (1, 2, 3)]
    found = taken(await read("bull"))
    assert [round(job.schedule_time.timestamp() * 1000) for job in found] == added
    assert [job.create_time for job in found] == [job.schedule_time for job in found]


async def test_a_stalled_job_of_bullmq_goes_before_all_and_says_so(play: Play, read: Read) -> None:
    play("bullmq", "order", "stalled")
    changed = {name: thing.why for name, thing in by_name(await read("bullmq")).items() if thing.why}
    assert changed == {"stalls": (RAISED,)}
