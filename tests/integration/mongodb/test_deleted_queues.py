"""Nothing is remembered of queues that were deleted, however many come and go."""

from __future__ import annotations

from datetime import timedelta

from contract.builders import a_draft, added
from tocsin_server.store.mongo.store import MongoStore


async def test_queues_that_were_made_and_deleted_leave_nothing(store: MongoStore) -> None:
    names = {f"order-{number}" for number in range(40)}  # a thousand take SecantusDB minutes

    def remembered() -> dict[str, int]:
        log = store._log
        known = {
            "holes": store._holes._queues.keys(),
            "trimmed": log._trimmed.keys(),
            "stood": log._stood.keys(),
            "holes in logs": {queue for queue, _ in log._holes},
            "types": store._types._types.keys(),
        }
        return {part: len(queues & names) for part, queues in known.items()}

    for name in sorted(names):
        cursor = await store.cursor(name)
        [job] = await added(store, a_draft(queue=name))
        await store._queues.allocate(name, events=1)  # by a server that is dead since
        await store.events(name, cursor, wait=timedelta(0), limit=1)
        await store.events(name, await store.cursor(name), wait=timedelta(0))
        await store.delete(name, [job.job_id], ended_only=False)
    await store.ticks(sorted(names))
    assert {part for part, number in remembered().items() if number} >= {"holes", "trimmed", "stood", "types"}
    for name in names:
        assert await store.forget(name)
    await store.queues()
    assert not any(remembered().values())
