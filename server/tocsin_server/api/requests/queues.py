"""Requests about queues."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Protocol

from tocsin.v1 import queue_pb2
from tocsin.v1 import queue_service_pb2 as pb

from tocsin_server.api import page_tokens
from tocsin_server.api.requests.jobs import STATES, check_page_size, page_size, queue_of
from tocsin_server.api.requests.payloads.http_request import check_target
from tocsin_server.api.requests.queue_limits import check_limits, to_limits
from tocsin_server.api.requests.schedule_jobs import check_retention, check_retry, to_defaults
from tocsin_server.api.requests.violations import Violations
from tocsin_server.api.times import to_span, to_time
from tocsin_server.domain import limits
from tocsin_server.domain.defaults import UNSET, JobDefaults, PushTarget
from tocsin_server.domain.filters import JobFilter, Window
from tocsin_server.domain.http_requests import HTTP_REQUEST
from tocsin_server.domain.queues import QueueSettings
from tocsin_server.domain.states import ENDED, State
from tocsin_server.operations.queues import QueueChange

# Paths of an update mask; `type_defaults.` is followed by a type.
_PLAIN_PATHS = (
    *("defaults", "type_defaults", "completed_max", "failed_max"),
    *("limits", "fair_turns", "priority_ageing"),
)
_TYPE_PATH = "type_defaults."
_PAUSE_PATHS = ("paused", "pause_time", "pause_reason", "pause_until")
_MOST_KEPT = 10_000_000
_VERSION = re.compile(r"[0-9][A-Za-z0-9._+-]{0,62}\Z")
_PURGEABLE = {number: name for number, name in STATES.items() if number != State.ACTIVE}


class NamesQueue(Protocol):
    """A request about one queue."""

    queue: str


def named_queue(request: NamesQueue) -> str:
    """The queue of a request that has nothing else to check."""
    wrong = Violations()
    wrong.queue("queue", request.queue)
    wrong.done()
    return queue_of(request.queue)


def list_queues(request: pb.ListQueuesRequest) -> tuple[str, int]:
    """The name after which a list goes on, and how many are wanted."""
    wrong = Violations()
    check_page_size(wrong, request.page_size)
    wrong.done()
    after = page_tokens.last_queue(request.page_token) if request.page_token else ""
    return after, page_size(request.page_size)


def pause_queue(request: pb.PauseQueueRequest) -> tuple[str, str, datetime | None]:
    """Which queue to pause, why, and until when."""
    wrong = Violations()
    wrong.queue("queue", request.queue)
    wrong.text("reason", request.reason, limits.REASON_BYTES)
    if request.HasField("until"):
        wrong.time("until", request.until)
    wrong.done()
    return queue_of(request.queue), request.reason, to_time(request.until) if request.HasField("until") else None


def update_queue(request: pb.UpdateQueueRequest) -> tuple[str, QueueChange]:
    """A queue, and what to change of it: what the mask names, or without one all that the request has."""
    wrong = Violations()
    wrong.queue("queue.queue", request.queue.queue)
    check_settings(wrong, "queue", request.queue)
    _mask(wrong, request)
    _pause(wrong, request)
    if not request.update_mask.paths and not any(field.name != "queue" for field, _ in request.queue.ListFields()):
        wrong.add("update_mask", "is empty, and the request has nothing to change")
    wrong.done()
    return queue_of(request.queue.queue), _change(request)


def purge_jobs(request: pb.PurgeJobsRequest) -> tuple[str, JobFilter]:
    """Which jobs of a queue to delete."""
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
    end = to_time(request.end_before) if request.HasField("end_before") else None
    states = frozenset(map(State, request.states))
    return queue_of(request.queue), JobFilter(states=states, types=frozenset(request.types), ended=Window(end=end))


def check_settings(wrong: Violations, field: str, queue: queue_pb2.Queue) -> None:
    """What is set for a queue, but for its pause; `field` is the queue's path."""
    _check_defaults(wrong, f"{field}.defaults", queue.defaults)
    if wrong.count(f"{field}.type_defaults", queue.type_defaults, limits.TYPES_PER_QUEUE):
        for type_, defaults in queue.type_defaults.items():
            path = wrong.key(f"{field}.type_defaults", type_)
            _check_defaults(wrong, path, defaults)
            if type_ == HTTP_REQUEST and defaults.HasField("push"):
                wrong.add(f"{path}.push", f"is not for {HTTP_REQUEST}, each of which says itself where it goes")
    for name in ("completed_max", "failed_max"):
        if queue.HasField(name):
            wrong.number(f"{field}.{name}", getattr(queue, name), 0, _MOST_KEPT)
    check_limits(wrong, f"{field}.limits", queue.limits)
    if queue.HasField("priority_ageing"):
        path = f"{field}.priority_ageing"
        wrong.span(path, queue.priority_ageing, limits.MIN_AGEING, limits.MAX_AGEING, "1 s to 30 days")


def _pause(wrong: Violations, request: pb.UpdateQueueRequest) -> None:
    """A queue that was read and is sent back changed may be paused. Who wants to pause it has no pause_time to give."""
    queue = request.queue
    if not request.update_mask.paths and not queue.HasField("pause_time"):
        for name in ("paused", "pause_reason"):
            if getattr(queue, name):
                wrong.add(f"queue.{name}", "is not changed by this call: pause with PauseQueue, go on with ResumeQueue")


def _mask(wrong: Violations, request: pb.UpdateQueueRequest) -> None:
    paths = request.update_mask.paths
    if not wrong.count("update_mask.paths", paths, limits.MASK_PATHS):
        return
    for i, path in enumerate(paths):
        at = f"update_mask.paths[{i}]"
        if path.startswith(_TYPE_PATH):
            wrong.name(at, path.removeprefix(_TYPE_PATH))
        elif path in _PAUSE_PATHS:
            wrong.add(at, "is not changed by this call: pause with PauseQueue, go on with ResumeQueue")
        elif path not in _PLAIN_PATHS:
            wrong.add(at, f"is none of {', '.join(_PLAIN_PATHS)}, {_TYPE_PATH}<type>")


def _check_defaults(wrong: Violations, field: str, defaults: queue_pb2.JobDefaults) -> None:
    check_retry(wrong, f"{field}.retry", defaults.retry)
    if defaults.HasField("timeout"):
        wrong.span(
            f"{field}.timeout", defaults.timeout, timedelta(milliseconds=1), limits.MAX_TIMEOUT, "1 ms to 30 days"
        )
    check_retention(wrong, f"{field}.retention", defaults.retention)
    if defaults.HasField("concurrency"):
        wrong.number(f"{field}.concurrency", defaults.concurrency, 1, limits.MAX_CONCURRENCY)
    if defaults.min_worker_version and not _VERSION.match(defaults.min_worker_version):
        wrong.add(f"{field}.min_worker_version", "is no version: at most 63 of A-Z a-z 0-9 . _ + -, a digit first")
    if defaults.HasField("push"):
        check_target(wrong, f"{field}.push", defaults.push)


def _change(request: pb.UpdateQueueRequest) -> QueueChange:
    queue = request.queue
    paths = frozenset(request.update_mask.paths) or frozenset(_present(queue))
    types = queue.type_defaults
    named = {path.removeprefix(_TYPE_PATH) for path in paths if path.startswith(_TYPE_PATH)}
    return QueueChange(
        defaults=_defaults(queue.defaults) if "defaults" in paths else None,
        all_types={t: _defaults(d) for t, d in types.items()} if "type_defaults" in paths else None,
        some_types={t: _defaults(types[t]) if t in types else UNSET for t in named},
        completed_max=_optional(queue, "completed_max") if "completed_max" in paths else ...,
        failed_max=_optional(queue, "failed_max") if "failed_max" in paths else ...,
        limits=to_limits(queue.limits) if "limits" in paths else None,
        fair_turns=queue.fair_turns if "fair_turns" in paths else None,
        priority_ageing=_ageing(queue) if "priority_ageing" in paths else ...,
    )


def to_settings(queue: queue_pb2.Queue) -> QueueSettings:
    """All that is set for a queue; `paused_since` says only whether it is paused."""
    types = {type_: _defaults(defaults) for type_, defaults in queue.type_defaults.items()}
    return QueueSettings(
        paused_since=limits.FIRST_TIME if queue.paused else None,
        pause_reason=queue.pause_reason if queue.paused else "",
        pause_until=to_time(queue.pause_until) if queue.paused and queue.HasField("pause_until") else None,
        defaults=_defaults(queue.defaults),
        type_defaults={type_: given for type_, given in types.items() if given != UNSET},
        completed_max=_optional(queue, "completed_max"),
        failed_max=_optional(queue, "failed_max"),
        draining=queue.draining,
        limits=to_limits(queue.limits),
        fair_turns=queue.fair_turns,
        priority_ageing=_ageing(queue),
    )


def _present(queue: queue_pb2.Queue) -> list[str]:
    there = {field.name for field, _ in queue.ListFields()}
    return [path for path in _PLAIN_PATHS if path in there]


def _optional(queue: queue_pb2.Queue, name: str) -> int | None:
    return int(getattr(queue, name)) if name in {field.name for field, _ in queue.ListFields()} else None


def _ageing(queue: queue_pb2.Queue) -> timedelta | None:
    return to_span(queue.priority_ageing) if queue.HasField("priority_ageing") else None


def _defaults(defaults: queue_pb2.JobDefaults) -> JobDefaults:
    timeout = defaults.timeout if defaults.HasField("timeout") else None
    return replace(
        to_defaults(defaults.retry, timeout, defaults.retention),
        concurrency=defaults.concurrency if defaults.HasField("concurrency") else None,
        min_worker_version=defaults.min_worker_version or None,
        push=_target(defaults.push) if defaults.HasField("push") else None,
    )


def _target(target: queue_pb2.PushTarget) -> PushTarget:
    timeout = to_span(target.timeout) if target.HasField("timeout") else None
    return PushTarget(target.url, dict(target.headers), target.secret_ref, timeout)
