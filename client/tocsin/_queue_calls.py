"""The calls of QueueService and ServerService; see `_calls`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeVar

from google.protobuf.message import Message

from tocsin._calls import PreparedCall
from tocsin._checking import listed, of_kind, put
from tocsin._fields import put_states, refuse_unknown
from tocsin._times import put_duration, put_time
from tocsin.errors import WrongType
from tocsin.limits import Limit
from tocsin.queues import JobDefaults, Queue, QueueChanges, QueueHealth, ServerInfo
from tocsin.requests import StateName
from tocsin.v1 import queue_service_pb2 as pb
from tocsin.v1 import server_service_pb2

Answer = TypeVar("Answer", bound=Message)
Result = TypeVar("Result")

QUEUE_SERVICE = "tocsin.v1.QueueService"
SERVER_SERVICE = "tocsin.v1.ServerService"


@dataclass(frozen=True, slots=True)
class QueuePage:
    """One page of queues."""

    queues: list[Queue]
    next_page_token: str


def health(queue: str) -> PreparedCall[pb.GetQueueHealthResponse, QueueHealth]:
    """GetQueueHealth."""
    request = pb.GetQueueHealthRequest()
    put(request, "queue", queue, "queue")
    return _queue_call("GetQueueHealth", request, pb.GetQueueHealthResponse, QueueHealth.read)


def list_page(page_size: int = 0, page_token: str = "") -> PreparedCall[pb.ListQueuesResponse, QueuePage]:
    """ListQueues, one page."""
    request = pb.ListQueuesRequest(page_token=page_token)
    put(request, "page_size", page_size, "page_size")
    return _queue_call(
        "ListQueues",
        request,
        pb.ListQueuesResponse,
        lambda answer: QueuePage([Queue.read(entry.queue, entry) for entry in answer.queues], answer.next_page_token),
    )


def get(queue: str) -> PreparedCall[pb.GetQueueResponse, Queue]:
    """GetQueue."""
    request = pb.GetQueueRequest()
    put(request, "queue", queue, "queue")
    return _queue_call("GetQueue", request, pb.GetQueueResponse, lambda answer: Queue.read(answer.queue))


def update(queue: str, changes: QueueChanges) -> PreparedCall[pb.UpdateQueueResponse, Queue]:
    """UpdateQueue, of what `changes` has. Setting the same twice is as setting it once."""
    refuse_unknown("update_queue", changes, QueueChanges.__annotations__)
    if not changes:
        known = ", ".join(QueueChanges.__annotations__)
        raise WrongType(f"update_queue needs one of {known}", reason="INVALID_FIELD")
    request = pb.UpdateQueueRequest()
    put(request.queue, "queue", queue, "queue.queue")
    some_types = changes.get("types") or {}
    request.update_mask.paths.extend(name for name in changes if name != "types")
    request.update_mask.paths.extend(f"type_defaults.{type_}" for type_ in some_types)
    defaults = changes.get("defaults")
    if defaults is not None:
        _of_defaults(defaults, "queue.defaults").put(request.queue.defaults, "queue.defaults")
    for type_, found in {**(changes.get("type_defaults") or {}), **some_types}.items():
        path = f"queue.type_defaults[{type_}]"
        if not isinstance(type_, str):
            raise WrongType.of("type_defaults", f"is a dict of types, not of {type(type_).__name__}")
        if found is not None:
            _of_defaults(found, path).put(request.queue.type_defaults[type_], path)
    for name, kept in (("completed_max", changes.get("completed_max")), ("failed_max", changes.get("failed_max"))):
        if kept is not None:
            put(request.queue, name, kept, f"queue.{name}")
    for i, limit in enumerate(listed(changes.get("limits") or (), "limits")):
        of_kind(Limit, limit, f"queue.limits[{i}]").put(request.queue.limits.add(), f"queue.limits[{i}]")
    if (fair := changes.get("fair_turns")) is not None:
        put(request.queue, "fair_turns", fair, "queue.fair_turns")
    if (ageing := changes.get("priority_ageing")) is not None:
        put_duration(request.queue.priority_ageing, ageing, "queue.priority_ageing")
    return _queue_call("UpdateQueue", request, pb.UpdateQueueResponse, lambda answer: Queue.read(answer.queue))


def pause(queue: str, reason: str = "", until: datetime | None = None) -> PreparedCall[pb.PauseQueueResponse, Queue]:
    """PauseQueue."""
    request = pb.PauseQueueRequest()
    put(request, "queue", queue, "queue")
    put(request, "reason", reason, "reason")
    if until is not None:
        put_time(request.until, until, "until")
    return _queue_call("PauseQueue", request, pb.PauseQueueResponse, lambda answer: Queue.read(answer.queue))


def drain(queue: str) -> PreparedCall[pb.DrainQueueResponse, Queue]:
    """DrainQueue."""
    request = pb.DrainQueueRequest()
    put(request, "queue", queue, "queue")
    return _queue_call("DrainQueue", request, pb.DrainQueueResponse, lambda answer: Queue.read(answer.queue))


def resume(queue: str, take_back: bool) -> PreparedCall[pb.ResumeQueueResponse, Queue]:
    """ResumeQueue."""
    request = pb.ResumeQueueRequest(take_back=take_back)
    put(request, "queue", queue, "queue")
    return _queue_call("ResumeQueue", request, pb.ResumeQueueResponse, lambda answer: Queue.read(answer.queue))


def delete(queue: str) -> PreparedCall[pb.DeleteQueueResponse, None]:
    """DeleteQueue. Deleting one that is gone is as deleting it once."""
    request = pb.DeleteQueueRequest()
    put(request, "queue", queue, "queue")
    return _queue_call("DeleteQueue", request, pb.DeleteQueueResponse, lambda answer: None)


def purge(
    queue: str, states: Sequence[StateName], types: Sequence[str], end_before: datetime | None, dry_run: bool
) -> PreparedCall[pb.PurgeJobsResponse, int]:
    """PurgeJobs; not repeated, for it would also delete what ended meanwhile, unless it only counts."""
    request = pb.PurgeJobsRequest(dry_run=dry_run)
    put(request, "queue", queue, "queue")
    put_states(request.states, states)
    request.types.extend(listed(types, "types"))
    if end_before is not None:
        put_time(request.end_before, end_before, "end_before")
    return PreparedCall(
        f"/{QUEUE_SERVICE}/PurgeJobs",
        request,
        pb.PurgeJobsResponse,
        lambda answer: answer.purged,
        repeatable=dry_run,
        patience=timedelta(minutes=1),  # it goes through the queue in bounded steps
    )


def server_info() -> PreparedCall[server_service_pb2.GetServerInfoResponse, ServerInfo]:
    """GetServerInfo."""
    return PreparedCall(
        f"/{SERVER_SERVICE}/GetServerInfo",
        server_service_pb2.GetServerInfoRequest(),
        server_service_pb2.GetServerInfoResponse,
        ServerInfo.read,
        repeatable=True,
    )


def _of_defaults(given: object, path: str) -> JobDefaults:
    if not isinstance(given, JobDefaults):
        raise WrongType.of(path, f"is a JobDefaults, not of type {type(given).__name__}")
    return given


def _queue_call(
    method: str, request: Message, answer: type[Answer], read: Callable[[Answer], Result]
) -> PreparedCall[Answer, Result]:
    return PreparedCall(f"/{QUEUE_SERVICE}/{method}", request, answer, read, repeatable=True)
