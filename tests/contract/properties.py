"""How property tests run here: a bounded number of examples, each in a queue of its own on the test's store."""

from __future__ import annotations

import itertools
import os

from hypothesis import HealthCheck, settings

from contract.providers import Provider

_serial = itertools.count(1)


def bounded(examples: int, steps: int = 50) -> settings:
    """At most so many examples, however long each takes; of a state machine, each of so many steps.

    A tenth of them in the plain test command, which runs each on every store; all where TESTS_FULL is set.
    """
    if not os.environ.get("TESTS_FULL"):
        examples = max(5, examples // 10)
    checks = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
    return settings(max_examples=examples, deadline=None, suppress_health_check=checks, stateful_step_count=steps)


def a_queue(provider: Provider) -> str:
    """A name that no other example has, in an emptied store: what examples leave would make each next one slower.

    An opened store knows nothing yet of a queue of that name, so it does not miss what went.
    """
    provider.clear()
    return f"q{next(_serial)}"
