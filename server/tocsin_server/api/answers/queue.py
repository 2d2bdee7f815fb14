"""Queues, their settings, figures and health."""

from __future__ import annotations

from google.protobuf.duration_pb2 import Duration
from tocsin.v1 import job_pb2, queue_pb2
from tocsin.v1 import queue_service_pb2 as pb

from tocsin_server.api.sized import too_large
from tocsin_server.api.times import set_span, set_time
from tocsin_server.domain.defaults import UNSET, JobDefaults
from tocsin_server.domain.queue_limits import Limit, Rate
from tocsin_server.domain.queues import QueueFigures, QueueSettings, WorkerFigures
from tocsin_server.domain.states import State
from tocsin_server.operations.queue_health import QueueHealth


def queue_of(name: str, settings: QueueSettings) -> queue_pb2.Queue:
    """A queue and its settings."""
    queue = queue_pb2.Queue()
    fill_queue(queue, name, settings)
    return queue


def fill_queue(target: queue_pb2.Queue, name: str, settings: QueueSettings) -> None:
    """Write a queue and its settings into the field `target`, which is empty."""
    target.queue = name
    target.paused = settings.paused
    if settings.paused_since is not None:
        set_time(target.pause_time, settings.paused_since)
        target.pause_reason = settings.pause_reason
        if settings.pause_until is not None:
            set_time(target.pause_until, settings.pause_until)
    if settings.defaults != UNSET:
        _fill_defaults(target.defaults, settings.defaults)
    for type_, defaults in settings.type_defaults.items():
        _fill_defaults(target.type_defaults[type_], defaults)
    if settings.completed_max is not None:
        target.completed_max = settings.completed_max
    if settings.failed_max is not None:
        target.failed_max = settings.failed_max
    target.draining = settings.draining
    for limit in settings.limits:
        _fill_limit(target.limits.add(), limit)
    target.fair_turns = settings.fair_turns
    if settings.priority_ageing is not None:
        set_span(target.priority_ageing, settings.priority_ageing)


def _fill_limit(target: queue_pb2.Limit, limit: Limit) -> None:
    target.name, target.type = limit.name, limit.type
    target.scope = queue_pb2.Limit.Scope.ValueType(limit.scope)
    target.on_full = queue_pb2.Limit.OnFull.ValueType(limit.on_full)
    if limit.max_active is not None:
        target.max_active = limit.max_active
    if limit.rate is not None:
        fill_rate(target.rate, limit.rate)


def fill_rate(target: queue_pb2.Limit.Rate, rate: Rate) -> None:
    """Write how fast jobs begin."""
    target.jobs, target.burst = rate.jobs, rate.burst
    set_span(target.per, rate.per)


def _fill_defaults(target: queue_pb2.JobDefaults, defaults: JobDefaults) -> None:
    target.SetInParent()
    retry, retention = target.retry, target.retention
    if defaults.max_attempts is not None:
        retry.max_attempts = defaults.max_attempts
    if defaults.backoff is not None:
        retry.backoff = job_pb2.RetryPolicy.Backoff.ValueType(defaults.backoff)
    if defaults.jitter is not None:
        retry.jitter = defaults.jitter
    if defaults.concurrency is not None:
        target.concurrency = defaults.concurrency
    if defaults.min_worker_version:
        target.min_worker_version = defaults.min_worker_version
    if (push := defaults.push) is not None:
        target.push.url, target.push.secret_ref = push.url, push.secret_ref
        target.push.headers.update(push.headers)
    spans = (
        (retry, "initial_delay", defaults.initial_delay),
        (retry, "max_delay", defaults.max_delay),
        (target, "timeout", defaults.timeout),
        (retention, "completed_for", defaults.completed_for),
        (retention, "failed_for", defaults.failed_for),
        (target.push, "timeout", None if push is None else push.timeout),
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


def health_of(name: str, health: QueueHealth) -> pb.GetQueueHealthResponse:
    """How a queue is."""
    target = pb.GetQueueHealthResponse()
    target.healthy = not health.error
    target.error = health.error
    target.queue = name
    figures = health.figures
    if figures is None:
        return target
    fill_counts(target.counts, figures)
    if health.oldest_waiting_age is not None:
        set_span(target.oldest_waiting_age, health.oldest_waiting_age)
    set_span(target.lag, health.lag)
    target.completed_per_second = figures.completed_per_second
    target.failed_per_second = figures.failed_per_second
    for worker in health.workers:
        _fill_worker(target.workers.add(), worker)
    target.unserved_types.extend(health.unserved_types)
    target.paused = health.paused
    target.warnings.extend(health.warnings)
    set_time(target.as_of, figures.now)
    if too_large(target):  # thousands of workers with hundreds of types each
        target.warnings.append(f"{len(target.workers):,} processes run jobs: too many to list")
        del target.workers[:]
    return target


def _fill_worker(target: queue_pb2.WorkerHealth, worker: WorkerFigures) -> None:
    target.worker = worker.worker
    target.types.extend(worker.types)
    target.slots, target.busy, target.abandoned = worker.slots, worker.busy, worker.abandoned
    if worker.seen_time is not None:
        set_time(target.seen_time, worker.seen_time)
    target.remote, target.version, target.language = worker.remote, worker.version, worker.language
