"""Filters: which jobs a request means."""

from __future__ import annotations

from tocsin.v1 import bulk_pb2, job_service_pb2, queue_service_pb2

from tocsin_server.api.convert.times import to_time
from tocsin_server.domain.filters import JobFilter, Order, Window
from tocsin_server.domain.states import ENDED, PENDING, State

_CANCELLABLE = PENDING | {State.ACTIVE}


def list_filter(request: job_service_pb2.ListJobsRequest) -> JobFilter:
    """The jobs of a list."""
    return JobFilter(
        states=_states(request.states),
        types=frozenset(request.types),
        tags=dict(request.tags),
        priority_min=request.priority_min if request.HasField("priority_min") else None,
        priority_max=request.priority_max if request.HasField("priority_max") else None,
        scheduled=_window(request, "schedule_time"),
        created=_window(request, "create_time"),
        ended=_window(request, "end_time"),
    )


def list_order(request: job_service_pb2.ListJobsRequest) -> Order:
    """How a list is sorted."""
    return Order.SOONEST if request.order_by == "schedule_time" else Order.NEWEST


def cancel_filter(request: job_service_pb2.BatchCancelJobsRequest) -> JobFilter:
    """The jobs to be cancelled, of those that can be."""
    return JobFilter(
        states=_states(request.states) or _CANCELLABLE, types=frozenset(request.types), tags=dict(request.tags)
    )


def retry_filter(request: bulk_pb2.BatchRetryJobsRequest) -> JobFilter:
    """The jobs to be made due again: the dead letters, where no state is named."""
    return JobFilter(
        states=_states(request.states) or frozenset({State.FAILED}),
        types=frozenset(request.types),
        tags=dict(request.tags),
    )


def delete_filter(request: bulk_pb2.BatchDeleteJobsRequest) -> JobFilter:
    """The jobs to be deleted, of those that have ended."""
    return JobFilter(states=_states(request.states) or ENDED, types=frozenset(request.types), tags=dict(request.tags))


def purge_filter(request: queue_service_pb2.PurgeJobsRequest) -> JobFilter:
    """The jobs to be deleted."""
    end = to_time(request.end_before) if request.HasField("end_before") else None
    return JobFilter(states=_states(request.states), types=frozenset(request.types), ended=Window(end=end))


def _states(states: object) -> frozenset[State]:
    return frozenset(map(State, states))  # type: ignore[call-overload]  # a repeated enum field


def _window(request: job_service_pb2.ListJobsRequest, name: str) -> Window:
    start, end = f"{name}_from", f"{name}_to"
    return Window(
        to_time(getattr(request, start)) if request.HasField(start) else None,  # type: ignore[arg-type]  # the two names
        to_time(getattr(request, end)) if request.HasField(end) else None,  # type: ignore[arg-type]  # the two names
    )
