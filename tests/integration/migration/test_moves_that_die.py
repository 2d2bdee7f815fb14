"""A move that dies at any of its calls is carried on by the next run."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tocsin_server.domain.queues import QueueSettings
from tocsin_server.migrate.move.verifying import verify

from integration.migration.filling import fill
from integration.migration.moves import Two, hooked, moved, paused

#: So many calls of both stores are the move of a small queue, compared.
CALLS = 61
#: Some of each kind, and more than are read by their ids at once.
JOBS = 60


@pytest.mark.parametrize("calls", range(CALLS))
async def test_a_run_that_dies_anywhere_is_carried_on(places: Two, calls: int) -> None:
    source, target = places
    await fill(source.store, "q", JOBS, tried=12)
    await target.store.put_settings("q", QueueSettings(), paused=False)
    left = calls

    async def dies(verb: str) -> None:
        nonlocal left
        if left <= 0:
            raise _Died(verb)
        left -= 1

    mortal = [replace(place, store=hooked(place.store, dies)) for place in places]
    with pytest.raises(_Died):
        await moved((mortal[0], mortal[1]))
    one = await moved(places)
    assert one.done
    found = await verify(source.store, target.store, "q")
    assert (found.ok, found.equal, found.target_only) == (True, JOBS, 0)
    assert (await paused(source.store), await paused(target.store)) == (True, False)


class _Died(Exception):
    """The process is gone."""
