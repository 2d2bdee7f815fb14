"""Any sequence of all calls leaves a queue as a small model of the rules says (contract/model)."""

from __future__ import annotations

import os

import pytest
from tocsin_server.store.interface import JobStore

from contract.model.running import live
from contract.providers import Provider

#: Calls of one life: enough for a queue to have some of everything, few enough for the clock to stand nearly still.
STEPS = 60
#: 300 calls on Redis and 60 on MongoDB in the plain test command; 10,000 and 1,000 where TESTS_FULL is set.
LIVES = int(os.environ.get("TESTS_LIVES") or (170 if os.environ.get("TESTS_FULL") else 5))
#: The first life's seed; those of the others follow.
SEED = int(os.environ.get("TESTS_SEED", "1"))


@pytest.mark.timeout(900)
async def test_a_queue_stands_as_the_model_says_after_any_calls(movable: JobStore, provider: Provider) -> None:
    for seed in range(SEED, SEED + max(1, LIVES // provider.slowness)):
        await live(movable, provider, seed, STEPS)
