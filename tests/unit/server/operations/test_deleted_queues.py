"""Nothing is remembered of queues that were deleted, however many come and go."""

from __future__ import annotations

from collections.abc import Callable

from contract.builders import MILLISECOND, YEAR, a_draft, added
from support.eventually import until_async
from support.running_leasing import Parts, StartParts
from support.spied_store import SpiedStore
from tocsin_server.maintenance.queue_forgetter import QueueForgetter
from tocsin_server.maintenance.runner import ChoreRunner

QUEUES = [f"order-{number}" for number in range(1000)]


def remembered(parts: Parts, forgetter: QueueForgetter) -> dict[str, int]:
    """Of how many of them what part knows something."""
    claimable, rounds = parts.leasing._claimable, parts.ticker._rounds
    known = {
        "claimable": claimable._queues.keys() | claimable._turns.keys(),
        "alarms": {name for _, name in claimable._alarms},
        "rounds": rounds._queues.keys() | {name for _, name in rounds._alarms},
        "forgetter": forgetter._looked.keys() | forgetter._todo.keys(),
    }
    return {part: len(names & set(QUEUES)) for part, names in known.items()}


async def test_a_thousand_that_were_made_and_deleted_leave_nothing(spied: SpiedStore, start_parts: StartParts) -> None:
    store = spied.as_store
    forgetter = QueueForgetter(store, unused_for=YEAR)

    async with start_parts(
        tick=50 * MILLISECOND, before=lambda parts: ChoreRunner(parts.ticker, parts.clock, [forgetter])
    ) as parts:

        async def has(wanted: Callable[[dict[str, int]], bool]) -> bool:
            return wanted(remembered(parts, forgetter))

        async def is_empty() -> bool:
            # With one more the names are read again; what is missed twice is forgotten.
            await added(store, a_draft(queue=f"another-{len(await store.queues())}"))
            return not any(remembered(parts, forgetter).values())

        jobs = await added(store, *(a_draft(queue=name, when=YEAR) for name in QUEUES))
        everywhere = {"claimable": len(QUEUES), "alarms": len(QUEUES), "rounds": len(QUEUES), "forgetter": 0}
        await until_async(lambda: has(lambda found: found == everywhere), within=20)
        for job in jobs:
            await store.delete(job.queue, [job.job_id], ended_only=False)
        await until_async(lambda: has(lambda found: found["forgetter"] == len(QUEUES)), within=60)
        for name in QUEUES:
            assert await store.forget(name)
        await until_async(is_empty, within=20)
