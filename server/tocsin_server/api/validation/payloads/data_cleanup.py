"""Rules on a payload data_cleanup."""

from __future__ import annotations

from datetime import timedelta

from tocsin.v1 import payloads_pb2

from tocsin_server.api.validation.violations import Violations
from tocsin_server.domain import limits
from tocsin_server.domain.states import ENDED

_STATES = sorted(state.name for state in ENDED)


def check_data_cleanup(wrong: Violations, path: str, cleanup: payloads_pb2.DataCleanup) -> None:
    """What to delete."""
    wrong.queue(f"{path}.queue", cleanup.queue)
    if cleanup.HasField("older_than"):
        wrong.span(f"{path}.older_than", cleanup.older_than, timedelta(seconds=1), limits.MAX_DELAY, "1 s to 100 years")
    else:
        wrong.add(f"{path}.older_than", "is needed")
    wrong.names(f"{path}.types", cleanup.types)
    if wrong.count(f"{path}.states", cleanup.states, len(_STATES)):
        for i, name in enumerate(cleanup.states):
            if name not in _STATES:
                wrong.add(f"{path}.states[{i}]", f"is none of {', '.join(_STATES)}: only jobs that ended are deleted")
