"""What takes long on MongoDB, and is run there by TESTS_MONGO=whole, or alone by TESTS_MONGO=rest; else on Redis alone.

Half of the time of all tests was spent in these: a commit takes a MongoDB a hundred times as long. `.ci/run` runs them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

import pytest

#: By the names of their files, without `test_`.
_CONTRACT = (
    "check dependencies dependents_and_deaths events expiry fair_turns forget limits_properties page "
    "properties_dependencies properties_keys properties_life properties_paging properties_schedules put put_arrivals "
    "put_properties queues races reap reasons run_again schedule_dependents schedules ticks_and_wakes trim trouble "
    "update verbs_by_state"
).split()
_E2E = ("clock", "dependencies", "python_client", "typed_payloads", "worker", "workers")
_NAMES = {*(f"contract/test_{name}.py" for name in _CONTRACT), *(f"e2e/test_{name}.py" for name in _E2E)}
_ON_MONGO = re.compile(r"\[.*\bmongo\b")


def split(items: Sequence[pytest.Item]) -> tuple[list[pytest.Item], list[pytest.Item]]:
    """Those to run, and those to leave out, as TESTS_MONGO says."""
    wanted = os.environ.get("TESTS_MONGO", "")
    if wanted == "whole":
        return list(items), []
    long = {item for item in items if _takes_long(item)}
    chosen = [item for item in items if (item in long) == (wanted == "rest")]
    return chosen, [item for item in items if item not in set(chosen)]


def _takes_long(item: pytest.Item) -> bool:
    return "/".join(item.path.parts[-2:]) in _NAMES and _ON_MONGO.search(item.nodeid) is not None
