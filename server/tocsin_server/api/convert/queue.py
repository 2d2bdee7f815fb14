"""Queues, their settings, figures and health."""

from __future__ import annotations

from dataclasses import replace

from google.protobuf.duration_pb2 import Duration
from tocsin.v1 import job_pb2, queue_pb2, queue_service_pb2

from tocsin_server.api.convert.job import to_defaults
from tocsin_server.api.convert.times import set_span, set_time
from tocsin_server.api.validation.queues import PLAIN_PATHS, TYPE_PATH
from tocsin_server.domain import limits
from tocsin_server.domain.defaults import UNSET, JobDefaults
from tocsin_server.domain.queues import QueueFigures, QueueSettings, WorkerFigures
from tocsin_server.domain.states import State
from tocsin_server.operations.queue_health import QueueHealth
from tocsin_server.operations.queues import QueueChange


def to_change(request: queue_service_pb2.UpdateQueueRequest) -> QueueChange:
    """What to change of a queue: what its mask names, or without one all that the request has."""
    queue = request.queue
    paths = frozenset(request.update_mask.paths) or frozenset(_present(queue))
    types = queue.type_defaults
    named = {path.removeprefix(TYPE_PATH) for path in paths if path.startswith(TYPE_PATH)}
    return QueueChange(
        defaults=_defaults(queue.defaults) if "defaults" in paths else None,
        all_types={t: _defaults(d) for t, d in types.items()} if "type_defaults" in paths else None,
        some_types={t: _defaults(types[t]) if t in types else UNSET for t in named},
        completed_max=_optional(queue, "completed_max") if "completed_max" in paths else ...,
        failed_max=_optional(queue, "failed_max") if "failed_max" in paths else ...,
    )


def to_settings(queue: queue_pb2.Queue) -> QueueSettings:
    """All that is set for a queue; `paused_since` says only whether it is paused."""
    types = {type_: _defaults(defaults) for type_, defaults in queue.type_defaults.items()}
    return QueueSettings(
        paused_since=limits.FIRST_TIME if queue.paused else None,
        pause_reason=queue.pause_reason if queue.paused else "",
        defaults=_defaults(queue.defaults),
        type_defaults={type_: said for type_, said in types.items() if said != UNSET},
        completed_max=_optional(queue, "completed_max"),
        failed_max=_optional(queue, "failed_max"),
    )


def _present(queue: queue_pb2.Queue) -> list[str]:
    there = {field.name for field, _ in queue.ListFields()}
    return [path for path in PLAIN_PATHS if path in there]


def _optional(queue: queue_pb2.Queue, name: str) -> int | None:
    return int(getattr(queue, name)) if name in {field.name for field, _ in queue.ListFields()} else None


def _defaults(defaults: queue_pb2.JobDefaults) -> JobDefaults:
    timeout = defaults.timeout if defaults.HasField("timeout") else None
    said = to_defaults(defaults.retry, timeout, defaults.retention)
    return replace(said, concurrency=defaults.concurrency) if defaults.HasField("concurrency") else said


def fill_queue(target: queue_pb2.Queue, name: str, settings: QueueSettings) -> None:
    """Write a queue and its settings into the field `target`, which is empty."""
    target.queue = name
    target.paused = settings.paused
    if settings.paused_since is not None:
        set_time(target.pause_time, settings.paused_since)
        target.pause_reason = settings.pause_reason
    if settings.defaults != UNSET:
        _fill_defaults(target.defaults, settings.defaults)
    for type_, defaults in settings.type_defaults.items():
        _fill_defaults(target.type_defaults[type_], defaults)
    if settings.completed_max is not None:
        target.completed_max = settings.completed_max
    if settings.failed_max is not None:
        target.failed_max = settings.failed_max


def _fill_defaults(target: queue_pb2.JobDefaults, said: JobDefaults) -> None:
    target.SetInParent()
    retry, retention = target.retry, target.retention
    if said.max_attempts is not None:
        retry.max_attempts = said.max_attempts
    if said.backoff is not None:
        retry.backoff = job_pb2.RetryPolicy.Backoff.ValueType(said.backoff)
    if said.jitter is not None:
        retry.jitter = said.jitter
    if said.concurrency is not None:
        target.concurrency = said.concurrency
    spans = (
        (retry, "initial_delay", said.initial_delay),
        (retry, "max_delay", said.max_delay),
        (target, "timeout", said.timeout),
        (retention, "completed_for", said.completed_for),
        (retention, "failed_for", said.failed_for),
    )
    for message, field, span in spans:
        if span is not None:
            span_field: Duration = getattr(message, field)
            set_span(span_field, span)


def fill_counts(target: queue_pb2.StateCounts, figures: QueueFigures) -> None:
    """Write how many jobs stand in each state."""
    target.SetInParent()
    for state in State:
        setattr(target, state.name.lower(), figures.total(state))


def fill_worker(target: queue_pb2.Worker, worker: WorkerFigures) -> None:
    """Write a process that runs jobs."""
    target.worker = worker.worker
    target.types.extend(worker.types)
    target.slots, target.busy, target.abandoned = worker.slots, worker.busy, worker.abandoned
    if worker.seen_time is not None:
        set_time(target.seen_time, worker.seen_time)


def fill_health(target: queue_service_pb2.GetQueueHealthResponse, name: str, health: QueueHealth) -> None:
    """Write how a queue is."""
    target.healthy = not health.error
    target.error = health.error
    target.queue = name
    figures = health.figures
    if figures is None:
        return
    fill_counts(target.counts, figures)
    if health.oldest_waiting_age is not None:
        set_span(target.oldest_waiting_age, health.oldest_waiting_age)
    set_span(target.lag, health.lag)
    target.completed_per_second = figures.completed_per_second
    target.failed_per_second = figures.failed_per_second
    for worker in health.workers:
        fill_worker(target.workers.add(), worker)
    target.unserved_types.extend(health.unserved_types)
    target.paused = health.paused
    target.warnings.extend(health.warnings)
    set_time(target.as_of, figures.now)
