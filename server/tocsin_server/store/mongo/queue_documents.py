"""A queue's settings and a worker's word as documents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from datetime import datetime, timedelta
from enum import IntEnum
from typing import Any

from tocsin_server.domain.defaults import JobDefaults, PushTarget
from tocsin_server.domain.queues import HeldJob, QueueSettings, WorkerFigures
from tocsin_server.domain.retry import Backoff
from tocsin_server.store.limit_records import limits_of, limits_to_json, span_of
from tocsin_server.store.mongo.documents import Document, span, text, to_ms

_SPANS = frozenset({"initial_delay", "max_delay", "timeout", "completed_for", "failed_for"})


def _defaults_document(defaults: JobDefaults) -> Document:
    """What was said; spans as milliseconds."""
    said: Document = {}
    for one in fields(defaults):
        value = getattr(defaults, one.name)
        if isinstance(value, timedelta):
            value = to_ms(value)
        elif isinstance(value, IntEnum):
            value = int(value)
        elif isinstance(value, PushTarget):
            value = _push_document(value)
        if value is not None:
            said[one.name] = value
    return said


def _defaults_of(said: Mapping[str, Any]) -> JobDefaults:
    known = {one.name for one in fields(JobDefaults)}
    values: dict[str, Any] = {}
    for name, value in said.items():
        if name in known:
            values[name] = span(value) if name in _SPANS else value
    if "backoff" in values:
        values["backoff"] = Backoff(values["backoff"])
    if "push" in values:
        values["push"] = _push_of(values["push"])
    return JobDefaults(**values)


def _push_document(push: PushTarget) -> Document:
    """Headers are a list: their names may hold dots, too."""
    said: Document = {"url": push.url, "headers": list(map(list, push.headers.items())), "secret_ref": push.secret_ref}
    if push.timeout is not None:
        said["timeout"] = to_ms(push.timeout)
    return said


def _push_of(said: Mapping[str, Any]) -> PushTarget:
    timeout = span(said["timeout"]) if "timeout" in said else None
    return PushTarget(said["url"], dict(said["headers"]), said["secret_ref"], timeout)


def settings_document(settings: QueueSettings) -> Document:
    """All but the pause. Types are a list: their names may hold dots, which are paths in a document's keys."""
    said: Document = {
        "defaults": _defaults_document(settings.defaults),
        "types": [
            {"type": name, "defaults": _defaults_document(defaults)}
            for name, defaults in settings.type_defaults.items()
        ],
    }
    if settings.completed_max is not None:
        said["completed_max"] = settings.completed_max
    if settings.failed_max is not None:
        said["failed_max"] = settings.failed_max
    if settings.draining:
        said["draining"] = True
    if settings.limits:
        said["limits"] = limits_to_json(settings.limits)
    if settings.fair_turns:
        said["fair_turns"] = True
    if settings.priority_ageing is not None:
        said["priority_ageing"] = to_ms(settings.priority_ageing)
    return said


def settings_of(head: Mapping[str, Any]) -> QueueSettings:
    """Settings from a queue's document, in which `said` is what is set."""
    said, paused = head.get("said", {}), head.get("paused")
    return QueueSettings(
        paused_since=paused,
        pause_reason=head.get("reason", "") if paused is not None else "",
        defaults=_defaults_of(said.get("defaults", {})),
        type_defaults={one["type"]: _defaults_of(one["defaults"]) for one in said.get("types", ())},
        completed_max=said.get("completed_max"),
        failed_max=said.get("failed_max"),
        draining=said.get("draining", False),
        limits=limits_of(said.get("limits", ())),
        fair_turns=said.get("fair_turns", False),
        priority_ageing=span_of(said.get("priority_ageing")),
        pause_until=head.get("until") if paused is not None else None,
    )


def workers_document(workers: Sequence[WorkerFigures]) -> Document:
    """What a server says of these workers, one at least: the first one's fields, and the others as a list beside them.
    So servers that know of one worker each read on."""
    first, *others = map(_worker_document, workers)
    return {**first, "others": others}


def _worker_document(worker: WorkerFigures) -> Document:
    said: Document = {
        "name": text(worker.worker),
        "types": list(worker.types),
        "slots": worker.slots,
        "busy": worker.busy,
        "abandoned": worker.abandoned,
        "queues": list(worker.queues),
        "warnings": [text(warning) for warning in worker.warnings],
        "remote": worker.remote,
        "version": text(worker.version),
        "language": text(worker.language),
        "labels": [[text(name), text(value)] for name, value in worker.labels.items()],
        "held": [[one.queue, one.job_id, one.type, one.attempt] for one in worker.held],
        "free": worker.free,
    }
    if worker.since is not None:
        said["since"] = worker.since
    if worker.seen_time is not None:
        said["seen"] = worker.seen_time
    return said


def workers_of(document: Mapping[str, Any]) -> list[WorkerFigures]:
    """The workers of one server's document."""
    said = document["said"]
    return [_worker_of(one, document["_id"], document["seen"]) for one in (said, *said.get("others", ()))]


def _worker_of(said: Mapping[str, Any], by: str, seen: datetime) -> WorkerFigures:
    """A field that a document lacks was not said: those of older servers have fewer."""
    return WorkerFigures(
        worker=said.get("name", by),
        types=tuple(said["types"]),
        slots=said["slots"],
        busy=said["busy"],
        abandoned=said["abandoned"],
        queues=tuple(said["queues"]),
        warnings=tuple(said["warnings"]),
        seen_time=min(seen, said.get("seen", seen)),
        remote=said.get("remote", False),
        version=said.get("version", ""),
        language=said.get("language", ""),
        labels=dict(said.get("labels", ())),
        since=said.get("since"),
        held=tuple(HeldJob(*one) for one in said.get("held", ())),
        free=said.get("free", 0),
        by=by,
    )
