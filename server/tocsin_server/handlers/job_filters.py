"""A filter of jobs from its message: that of a list, as the API reads it, and of a bulk action, which is a payload."""

from __future__ import annotations

from datetime import datetime
from typing import TypeAlias

from tocsin.v1.job_service_pb2 import ListJobsRequest
from tocsin.v1.payloads_pb2 import BulkFilter

from tocsin_server.domain.filters import JobFilter, Window
from tocsin_server.domain.states import State
from tocsin_server.domain.times import time_of

Filters: TypeAlias = ListJobsRequest | BulkFilter

#: The fields of times that both have.
FILTER_TIMES = tuple(f"{time}_time_{end}" for time in ("schedule", "create", "end") for end in ("from", "to"))


def filter_of(message: Filters, states: frozenset[State]) -> JobFilter:
    """What a message filters by, but for its states, which each of them says in its own way."""
    return JobFilter(
        states=states,
        types=frozenset(message.types),
        tags=dict(message.tags),
        priority_min=message.priority_min if message.HasField("priority_min") else None,
        priority_max=message.priority_max if message.HasField("priority_max") else None,
        scheduled=_window(message, "schedule_time"),
        created=_window(message, "create_time"),
        ended=_window(message, "end_time"),
    )


def _window(message: Filters, name: str) -> Window:
    return Window(_bound(message, f"{name}_from"), _bound(message, f"{name}_to"))


def _bound(message: Filters, name: str) -> datetime | None:
    if not message.HasField(name):  # type: ignore[arg-type]  # one of six names
        return None
    value = getattr(message, name)
    return time_of(value.seconds, value.nanos)
