"""Rules on requests about queues."""

from __future__ import annotations

from datetime import timedelta
from typing import Protocol

from tocsin.v1 import queue_pb2, queue_service_pb2

from tocsin_server.api.validation.scheduling import check_retention, check_retry
from tocsin_server.api.validation.standing import STATES, check_page_size
from tocsin_server.api.validation.violations import Violations
from tocsin_server.domain import limits
from tocsin_server.domain.states import ENDED, State

#: Paths of an update mask; `type_defaults.` is followed by a type.
PLAIN_PATHS = ("defaults", "type_defaults", "completed_max", "failed_max")
TYPE_PATH = "type_defaults."
_PAUSE_PATHS = ("paused", "pause_time", "pause_reason")
_MOST_KEPT = 10_000_000
_PURGEABLE = {number: name for number, name in STATES.items() if number != State.ACTIVE}


class NamesQueue(Protocol):
    """A request about one queue."""

    queue: str


def check_names_queue(request: NamesQueue) -> None:
    """A request that has nothing but a queue."""
    wrong = Violations()
    wrong.queue("queue", request.queue)
    wrong.done()


def check_list_queues(request: queue_service_pb2.ListQueuesRequest) -> None:
    """All of a list but its page token."""
    wrong = Violations()
    check_page_size(wrong, request.page_size)
    wrong.done()


def check_pause_queue(request: queue_service_pb2.PauseQueueRequest) -> None:
    """Which queue to pause, and why."""
    wrong = Violations()
    wrong.queue("queue", request.queue)
    wrong.text("reason", request.reason, limits.REASON_BYTES)
    wrong.done()


def check_update_queue(request: queue_service_pb2.UpdateQueueRequest) -> None:
    """New values of a queue, and which of them are meant."""
    wrong = Violations()
    wrong.queue("queue.queue", request.queue.queue)
    check_settings(wrong, "queue", request.queue)
    _mask(wrong, request)
    _pause(wrong, request)
    if not request.update_mask.paths and not any(field.name != "queue" for field, _ in request.queue.ListFields()):
        wrong.add("update_mask", "is empty, and the request has nothing to change")
    wrong.done()


def check_settings(wrong: Violations, field: str, queue: queue_pb2.Queue) -> None:
    """What is set for a queue, but for its pause; `field` is the queue's path."""
    _defaults(wrong, f"{field}.defaults", queue.defaults)
    if wrong.count(f"{field}.type_defaults", queue.type_defaults, limits.TYPES_PER_QUEUE):
        for type_, defaults in queue.type_defaults.items():
            _defaults(wrong, wrong.key(f"{field}.type_defaults", type_), defaults)
    for name in ("completed_max", "failed_max"):
        if queue.HasField(name):
            wrong.number(f"{field}.{name}", getattr(queue, name), 0, _MOST_KEPT)


def _pause(wrong: Violations, request: queue_service_pb2.UpdateQueueRequest) -> None:
    """A queue that was read and is sent back changed may be paused. Who wants to pause it has no pause_time to give."""
    queue = request.queue
    if not request.update_mask.paths and not queue.HasField("pause_time"):
        for name in ("paused", "pause_reason"):
            if getattr(queue, name):
                wrong.add(f"queue.{name}", "is not changed by this call: pause with PauseQueue, go on with ResumeQueue")


def _mask(wrong: Violations, request: queue_service_pb2.UpdateQueueRequest) -> None:
    paths = request.update_mask.paths
    if not wrong.count("update_mask.paths", paths, limits.MASK_PATHS):
        return
    for i, path in enumerate(paths):
        at = f"update_mask.paths[{i}]"
        if path.startswith(TYPE_PATH):
            wrong.name(at, path.removeprefix(TYPE_PATH))
        elif path in _PAUSE_PATHS:
            wrong.add(at, "is not changed by this call: pause with PauseQueue, go on with ResumeQueue")
        elif path not in PLAIN_PATHS:
            wrong.add(at, f"is none of {', '.join(PLAIN_PATHS)}, {TYPE_PATH}<type>")


def _defaults(wrong: Violations, field: str, defaults: queue_pb2.JobDefaults) -> None:
    check_retry(wrong, f"{field}.retry", defaults.retry)
    if defaults.HasField("timeout"):
        wrong.span(
            f"{field}.timeout", defaults.timeout, timedelta(milliseconds=1), limits.MAX_TIMEOUT, "1 ms to 30 days"
        )
    check_retention(wrong, f"{field}.retention", defaults.retention)
    if defaults.HasField("concurrency"):
        wrong.number(f"{field}.concurrency", defaults.concurrency, 1, limits.MAX_CONCURRENCY)


def check_purge_jobs(request: queue_service_pb2.PurgeJobsRequest) -> None:
    """Which jobs to delete."""
    wrong = Violations()
    wrong.queue("queue", request.queue)
    if not request.states:
        wrong.add("states", "is needed: name the states whose jobs go")
    wrong.enums("states", request.states, _PURGEABLE)
    wrong.names("types", request.types)
    if request.HasField("end_before"):
        wrong.time("end_before", request.end_before)
        if not ENDED.issuperset(request.states):
            wrong.add("end_before", "needs states to be of COMPLETED, FAILED, CANCELLED: others have not ended")
    wrong.done()
