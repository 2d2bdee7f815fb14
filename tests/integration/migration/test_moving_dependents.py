"""Jobs that wait for others go to another store with whom they wait for."""

from __future__ import annotations

from contract.builders import a_draft, added, read
from contract.dependent_jobs import RUN, all_errands, child, complete, of
from tocsin_server.domain.dependencies import ParentEnd, ParentJob
from tocsin_server.domain.states import State

from integration.migration.moves import Two, moved


async def test_a_queue_moves_with_those_that_wait_in_it(places: Two) -> None:
    source, target = (side.store for side in places)
    first, second = await added(source, a_draft("p1", type="a"), a_draft("p2", type="b"))
    await child(source, "c", first, second, rule=RUN)
    await complete(source, first)
    await all_errands(source)
    report = await moved(places)
    assert report.verified is not None
    assert report.verified.ok
    assert await of(target).parents("q", ["c"]) == [
        (ParentJob("q", "p1", 0, ParentEnd.COMPLETED), ParentJob("q", "p2"))
    ]
    await all_errands(target)
    assert (await read(target, "c")).state is State.BLOCKED
    await complete(target, second)
    await all_errands(target)
    assert (await read(target, "c")).state is State.WAITING
