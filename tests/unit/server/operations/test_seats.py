"""Several who run jobs beside each other: each is given what it takes, in its own time, and a claim is made for all."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from datetime import timedelta

from contract.builders import HOUR, MILLISECOND, MINUTE, a_draft, added, read
from support.eventually import until_async
from support.running_leasing import FreeForAll, Parts, StartParts
from support.spied_store import SpiedStore
from tocsin_server.domain.lease import Claimed
from tocsin_server.domain.states import State


class Worker:
    """Sits, and keeps what it is given; each slot is used once."""

    def __init__(
        self,
        parts: Parts,
        types: Collection[str] = "t",
        slots: int = 5,
        queues: Collection[str] | None = None,
        lease: timedelta = MINUTE,
        *,
        apart: bool = False,
    ) -> None:
        self.given: list[Claimed] = []
        self.times: list[int] = []  # how many came at once
        self.slots = slots
        self._types = types
        self.seat = parts.leasing.seat(types, self._capacity, self._take, queues=queues, lease=lease, apart=apart)

    def _capacity(self) -> FreeForAll:
        free = self.slots - len(self.given)
        return FreeForAll(dict.fromkeys(self._types, free), free)

    def _take(self, claimed: Collection[Claimed]) -> None:
        self.given += claimed
        self.times.append(len(claimed))

    async def until(self, count: int) -> list[str]:
        async def enough() -> bool:
            return len(self.given) >= count

        await until_async(enough, within=5, what=f"{count} jobs, not {len(self.given)}")
        return sorted(one.job.job_id for one in self.given)


async def test_one_claim_is_made_for_all_who_take_of_a_queue(spied: SpiedStore, start_parts: StartParts) -> None:
    store = spied.as_store
    async with start_parts(tick=HOUR) as parts:
        workers = [Worker(parts, slots=2) for _ in range(3)]
        await added(store, *(a_draft() for _ in range(6)))
        for worker in workers:
            await worker.until(2)
    assert [arguments[1:3] for arguments, _ in spied.arguments["claim"]] == [({"t": 6}, 6)]


async def test_few_jobs_are_spread_over_many(spied: SpiedStore, start_parts: StartParts) -> None:
    async with start_parts(tick=HOUR) as parts:
        workers = [Worker(parts) for _ in range(4)]
        await added(spied.as_store, *(a_draft() for _ in range(4)))
        for worker in workers:
            await worker.until(1)
    assert [len(worker.given) for worker in workers] == [1, 1, 1, 1]


async def test_who_was_served_waits_behind_who_was_not(spied: SpiedStore, start_parts: StartParts) -> None:
    async with start_parts(tick=HOUR) as parts:
        workers = [Worker(parts) for _ in range(3)]
        for count in range(1, 7):
            await added(spied.as_store, a_draft())
            await until_async(lambda count=count: given(workers, count), within=5)
    assert [len(worker.given) for worker in workers] == [2, 2, 2]


async def test_who_takes_of_all_queues_is_served_in_turn_with_who_names_some(
    spied: SpiedStore, start_parts: StartParts
) -> None:
    async with start_parts(tick=HOUR) as parts:
        workers = [Worker(parts, queues=["q"]), Worker(parts, lease=HOUR), Worker(parts, queues=["q", "r"])]
        for count in range(1, 7):
            await added(spied.as_store, a_draft())
            await until_async(lambda count=count: given(workers, count), within=5)
    assert [len(worker.given) for worker in workers] == [2, 2, 2]


async def given(workers: Collection[Worker], count: int) -> bool:
    return sum(len(worker.given) for worker in workers) == count


async def test_each_gets_of_its_own_queues_and_types(spied: SpiedStore, start_parts: StartParts) -> None:
    store = spied.as_store
    async with start_parts(tick=100 * MILLISECOND) as parts:
        a, b, all_, other = (
            Worker(parts, queues=["a"]),
            Worker(parts, queues=["b", "c"]),
            Worker(parts, "u"),
            Worker(parts, "u", queues=["a"]),
        )
        await added(store, *(a_draft(f"{queue}-t", queue=queue) for queue in "abcd"))
        assert await a.until(1) == ["a-t"]
        assert await b.until(2) == ["b-t", "c-t"]
        await added(store, a_draft("d-u", queue="d", type="u"))
        assert await all_.until(1) == ["d-u"]
        await added(store, a_draft("a-u", queue="a", type="u"))
        assert await other.until(1) == ["a-u"]
        assert (await read(store, "d-t", queue="d")).state is State.WAITING, "nobody takes it"


async def test_a_seat_as_wide_as_a_claim_hides_no_other(spied: SpiedStore, start_parts: StartParts) -> None:
    async with start_parts(tick=HOUR) as parts:
        Worker(parts, "t", slots=1000)
        narrow = Worker(parts, "u", slots=1)
        await added(spied.as_store, a_draft(type="u"))
        await narrow.until(1)


async def test_one_that_cannot_take_its_jobs_keeps_no_other_from_its_own(
    spied: SpiedStore, start_parts: StartParts
) -> None:
    class Broken(Worker):
        def _take(self, claimed: Collection[Claimed]) -> None:
            super()._take(claimed)
            raise RuntimeError("broken by the test")

    async with start_parts(tick=HOUR) as parts:
        broken, well = Broken(parts, slots=1), Worker(parts, slots=2)
        await added(spied.as_store, a_draft(), a_draft())
        await well.until(1)
        await added(spied.as_store, a_draft())
        await well.until(2)
    assert len(broken.given) == 1


async def test_each_lease_lasts_as_long_as_its_seat_says(spied: SpiedStore, start_parts: StartParts) -> None:
    async with start_parts(tick=HOUR) as parts:
        short, long = Worker(parts, slots=1, lease=MINUTE), Worker(parts, slots=1, lease=HOUR)
        await added(spied.as_store, a_draft(), a_draft())
        await short.until(1)
        await long.until(1)
    assert {(kwargs["lease"], arguments[2]) for arguments, kwargs in spied.arguments["claim"]} == {
        (MINUTE, 1),
        (HOUR, 1),
    }


async def test_who_has_left_is_given_nothing_and_the_rest_goes_on(spied: SpiedStore, start_parts: StartParts) -> None:
    async with start_parts(tick=HOUR) as parts:
        gone, there = Worker(parts), Worker(parts)
        gone.seat.leave()
        gone.seat.leave()
        gone.seat.widened()
        await added(spied.as_store, *(a_draft() for _ in range(5)))
        await there.until(5)
    assert gone.given == []


async def test_a_full_seat_is_asked_for_again_when_it_is_widened(spied: SpiedStore, start_parts: StartParts) -> None:
    store = spied.as_store
    async with start_parts(tick=50 * MILLISECOND) as parts:
        worker = Worker(parts, slots=1)
        await added(store, a_draft(), a_draft())
        await worker.until(1)
        before = spied.calls["claim"]
        await spied.until_called("ticks", 3)
        assert spied.calls["claim"] == before
        worker.slots = 2
        worker.seat.widened()
        await worker.until(2)


async def test_idle_seats_cost_the_store_nothing(spied: SpiedStore, start_parts: StartParts) -> None:
    await added(spied.as_store, a_draft(when=HOUR))
    async with start_parts(tick=50 * MILLISECOND) as parts:
        for number in range(200):
            Worker(parts, queues=["q", f"own-{number % 10}"])
        await spied.until_called("ticks", 3)
        before = spied.calls.copy()
        await spied.until_called("ticks", 5)
        assert set(spied.calls - before) == {"ticks", "count_queues"}


async def test_long_polls_one_after_another_cost_a_claim_only_where_something_rings(
    spied: SpiedStore, start_parts: StartParts
) -> None:
    await added(spied.as_store, a_draft(type="other"))
    async with start_parts(tick=50 * MILLISECOND) as parts:
        for _ in range(50):
            worker = Worker(parts, queues=["q"])
            await asyncio.sleep(0)
            worker.seat.leave()
        await spied.until_called("ticks", 2)
        assert spied.calls["claim"] <= 2


async def test_what_seats_apart_have_free_is_no_room_for_others(spied: SpiedStore, start_parts: StartParts) -> None:
    await added(spied.as_store, *(a_draft(type=type_) for type_ in "aabbccpp"))
    async with start_parts(tick=HOUR) as parts:
        push = [Worker(parts, types, slots=9, apart=True) for types in ("p", "r")]  # the same nine slots
        few = Worker(parts, "abc", slots=2)
        await few.until(2)
        await push[0].until(2)
    # Six stand of a, b and c, and with the nine free slots of the others as room all six would have come.
    assert next(limit for (_, _, limit), _ in spied.arguments["claim"]) == 2
    assert (len(few.given), spied.calls["finish"]) == (2, 0)


async def test_seats_apart_that_find_nothing_ask_now_and_then_and_hold_up_nobody(
    spied: SpiedStore, start_parts: StartParts
) -> None:
    async with start_parts(tick=HOUR) as parts:
        Worker(parts, "p", apart=True)
        await added(spied.as_store, a_draft())
        await spied.until_called("claim", 1)
        before, begun = spied.calls["claim"], asyncio.get_running_loop().time()
        for _ in range(30):  # each rings
            await added(spied.as_store, a_draft())
        took = asyncio.get_running_loop().time() - begun
        assert spied.calls["claim"] - before <= took / 0.02 + 2
        other = Worker(parts, slots=31)
        assert len(await other.until(31)) == 31
