"""A queue's settings and a worker's word as they are stored: JSON, small and rarely written."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import fields
from datetime import datetime, timedelta
from typing import Any

from tocsin_server.domain.defaults import JobDefaults, PushTarget
from tocsin_server.domain.queues import HeldJob, LimitFigures, QueueFigures, QueueSettings, Tick, WorkerFigures
from tocsin_server.domain.retry import Backoff
from tocsin_server.domain.states import State
from tocsin_server.domain.times import time_to_ms, to_ms, to_time
from tocsin_server.store.limit_records import limits_of, limits_to_json, span_of

_TICK = struct.Struct(">" + 6 * "HI")  # six numbers of 6 bytes
_OLD_TICK_BYTES = 24
_TICK_SCHEDULE, _TICK_START, _TICK_ERRAND = slice(40, 46), slice(46, 52), slice(52, 58)
_TICK_WITH_ERRAND = 59

#: Of a queue's hash, as `settings_of` takes them.
SETTINGS_FIELDS = ("paused", "reason", "settings", "cmax", "fmax", "until")

RATE_MINUTES = 5  # rates are means over so many whole minutes and the one under way


def _defaults_to_json(defaults: JobDefaults) -> dict[str, Any]:
    """What was said, under the fields' names; spans as milliseconds, in their names too."""
    said: dict[str, Any] = {}
    for field in fields(defaults):
        value = getattr(defaults, field.name)
        if isinstance(value, timedelta):
            said[f"{field.name}_ms"] = to_ms(value)
        elif isinstance(value, PushTarget):
            said[field.name] = _push_to_json(value)
        elif value is not None:
            said[field.name] = value
    return said


def _defaults_from_json(said: Mapping[str, Any]) -> JobDefaults:
    """A field that a record lacks was not said: records of older servers know fewer."""
    values: dict[str, Any] = {}
    for field in fields(JobDefaults):
        if field.name in said:
            values[field.name] = said[field.name]
        elif f"{field.name}_ms" in said:
            values[field.name] = timedelta(milliseconds=said[f"{field.name}_ms"])
    if "backoff" in values:
        values["backoff"] = Backoff(values["backoff"])
    if "push" in values:
        values["push"] = _push_from_json(values["push"])
    return JobDefaults(**values)


def _push_to_json(push: PushTarget) -> dict[str, Any]:
    timeout = None if push.timeout is None else to_ms(push.timeout)
    return {"url": push.url, "headers": push.headers, "secret_ref": push.secret_ref, "timeout_ms": timeout}


def _push_from_json(said: Mapping[str, Any]) -> PushTarget:
    timeout = said["timeout_ms"]
    span = None if timeout is None else timedelta(milliseconds=timeout)
    return PushTarget(said["url"], said["headers"], said["secret_ref"], span)


def settings_bytes(settings: QueueSettings) -> bytes:
    """What put_settings.lua stores beside pause and maxima."""
    types = {name: _defaults_to_json(defaults) for name, defaults in settings.type_defaults.items()}
    said: dict[str, Any] = {"defaults": _defaults_to_json(settings.defaults), "types": types}
    if settings.draining:
        said["draining"] = True
    if settings.limits:
        said["limits"] = limits_to_json(settings.limits)
    if settings.fair_turns:
        said["fair_turns"] = True
    if settings.priority_ageing is not None:
        said["priority_ageing_ms"] = to_ms(settings.priority_ageing)
    return json.dumps(said).encode()


def settings_of(stored_fields: Sequence[bytes | None]) -> QueueSettings:
    """Settings from the queue's fields paused, reason, settings, cmax, fmax, until."""
    paused, reason, stored, completed_max, failed_max, until = stored_fields
    said = json.loads(stored) if stored else {}
    return QueueSettings(
        paused_since=None if paused is None else to_time(int(paused)),
        pause_reason=(reason or b"").decode(errors="replace"),
        defaults=_defaults_from_json(said.get("defaults", {})),
        type_defaults={name: _defaults_from_json(of_type) for name, of_type in said.get("types", {}).items()},
        completed_max=None if completed_max is None else int(completed_max),
        failed_max=None if failed_max is None else int(failed_max),
        draining=said.get("draining", False),
        limits=limits_of(said.get("limits", ())),
        fair_turns=said.get("fair_turns", False),
        priority_ageing=span_of(said.get("priority_ageing_ms")),
        pause_until=None if until is None else to_time(int(until)),
    )


def tick_of(stored: bytes | None) -> Tick:
    """A tick record, as lua/lib/tick.lua writes it."""
    if not stored:
        return Tick(0, None, None, None)
    # A server with very many queues reads the ticks of all of them at its start, so this is made to be quick.
    halves = _TICK.unpack(stored[: _TICK.size].ljust(_TICK.size, b"\0"))
    wakes, due, lease, expiry, waiting, changes = (halves[at] << 32 | halves[at + 1] for at in range(0, len(halves), 2))
    if len(stored) <= _OLD_TICK_BYTES:  # of a server that did not say: what once woke somebody may wait still
        waiting = wakes
    errand = int.from_bytes(stored[_TICK_ERRAND]) if len(stored) == _TICK_WITH_ERRAND else 0
    return Tick(
        wakes,
        to_time(due) if due else None,
        to_time(lease) if lease else None,
        to_time(expiry) if expiry else None,
        waiting > 0,
        changes,
        to_time(schedule) if (schedule := int.from_bytes(stored[_TICK_SCHEDULE])) else None,
        to_time(start) if (start := int.from_bytes(stored[_TICK_START])) else None,
        to_time(errand) if errand else None,
    )


def counts_of(pairs: Sequence[bytes]) -> dict[State, dict[str, int]]:
    """Jobs by state and type, from the flat answer of HGETALL."""
    counts: dict[State, dict[str, int]] = {}
    for name, number in zip(pairs[::2], pairs[1::2], strict=True):
        state, _, kind = name.decode().partition(":")
        counts.setdefault(State(int(state)), {})[kind] = int(number)
    return counts


def figures_of(reply: Sequence[Any]) -> QueueFigures:
    """What figures.lua says."""
    now_ms, counts, oldest, rates, gone, (held_keys, *limited) = reply
    minute = now_ms // 60_000
    ended = {b"c": 0, b"f": 0}
    for name, number in zip(rates[::2], rates[1::2], strict=True):
        if minute - RATE_MINUTES <= int(name[1:]) <= minute:
            ended[name[:1]] += int(number)
    seconds = RATE_MINUTES * 60 + now_ms % 60_000 / 1000
    done_deleted, failed_deleted = (None if end is None else to_time(int(end)) for end in gone)
    of_limits = zip(limited[::3], limited[1::3], limited[2::3], strict=True)
    return QueueFigures(
        to_time(now_ms),
        counts_of(counts),
        None if oldest < 0 else to_time(oldest),
        ended[b"c"] / seconds,
        ended[b"f"] / seconds,
        done_deleted,
        failed_deleted,
        tuple(LimitFigures(name.decode(), active, most) for name, active, most in of_limits),
        held_keys,
    )


def workers_bytes(workers: Sequence[WorkerFigures]) -> bytes:
    """What a server says of these workers, one at least: the first one's fields, and the others as a list beside them.
    So servers that know of one worker each read on."""
    first, *others = map(_worker_to_json, workers)
    return json.dumps({**first, "others": others}).encode()


def _worker_to_json(worker: WorkerFigures) -> dict[str, Any]:
    return {
        "name": worker.worker,
        "types": worker.types,
        "slots": worker.slots,
        "busy": worker.busy,
        "abandoned": worker.abandoned,
        "queues": worker.queues,
        "warnings": worker.warnings,
        "remote": worker.remote,
        "version": worker.version,
        "language": worker.language,
        "labels": dict(worker.labels),
        "since_ms": None if worker.since is None else time_to_ms(worker.since),
        "seen_ms": None if worker.seen_time is None else time_to_ms(worker.seen_time),
        "held": [(one.queue, one.job_id, one.type, one.attempt) for one in worker.held],
        "free": worker.free,
    }


def workers_of(reply: Sequence[Any]) -> list[WorkerFigures]:
    """The workers of one server, of workers.lua's answer."""
    by, seen_ms, stored = reply
    said, seen = json.loads(stored), to_time(seen_ms)
    return [_worker_of(one, by.decode(), seen) for one in (said, *said.get("others", ()))]


def _worker_of(said: Mapping[str, Any], by: str, seen: datetime) -> WorkerFigures:
    """A field that a record lacks was not said: records of older servers know fewer."""
    since, own = said.get("since_ms"), said.get("seen_ms")
    return WorkerFigures(
        worker=said.get("name", by),
        types=tuple(said["types"]),
        slots=said["slots"],
        busy=said["busy"],
        abandoned=said["abandoned"],
        queues=tuple(said["queues"]),
        warnings=tuple(said["warnings"]),
        seen_time=seen if own is None else min(seen, to_time(own)),
        remote=said.get("remote", False),
        version=said.get("version", ""),
        language=said.get("language", ""),
        labels=said.get("labels", {}),
        since=None if since is None else to_time(since),
        held=tuple(HeldJob(*one) for one in said.get("held", ())),
        free=said.get("free", 0),
        by=by,
    )
