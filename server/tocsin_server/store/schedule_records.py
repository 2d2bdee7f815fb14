"""A schedule as both stores keep it: JSON, small and rarely written. Its stamp stands beside it."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

from tocsin_server.domain.job import JobSpec, Payload, Retention, Terms
from tocsin_server.domain.retry import Backoff, RetryPolicy
from tocsin_server.domain.schedules.standing import Missed, Overlap, Schedule, ScheduleSpec
from tocsin_server.domain.schedules.timing import CalendarUse, Cron, Every, OnExcluded, Timing
from tocsin_server.domain.times import time_to_ms, to_ms, to_time
from tocsin_server.store.condition_records import conditions_of, conditions_to_json

_encode = json.JSONEncoder(separators=(",", ":")).encode
_PAYLOAD = b'"payload":['


def _span(ms: int | None) -> timedelta | None:
    return None if ms is None else timedelta(milliseconds=ms)


def _ms(span: timedelta | None) -> int | None:
    return None if span is None else to_ms(span)


def _time(ms: int | None) -> datetime | None:
    return None if ms is None else to_time(ms)


def _time_ms(time: datetime | None) -> int | None:
    return None if time is None else time_to_ms(time)


def schedule_bytes(schedule: Schedule) -> bytes:
    """All of it but queue, id and stamp, by which it is found."""
    spec = schedule.spec
    said = {
        "timing": _timing_to_json(spec.timing),
        "job": _job_to_json(spec.job),
        "overlap": int(spec.overlap),
        "on_missed": int(spec.missed),
        "catch_up_window": _ms(spec.catch_up_window),
        "catch_up_max": spec.catch_up_max,
        "paused": spec.paused,
        "pause_reason": spec.pause_reason,
        "note": spec.note,
        "create": time_to_ms(schedule.create_time),
        "next": _time_ms(schedule.next_time),
        "last": _time_ms(schedule.last_time),
        "held": _time_ms(schedule.held_time),
        "revision": schedule.revision,
        "fired": schedule.fired,
        "missed": schedule.missed,
        "overlap_skipped": schedule.overlap_skipped,
        "backfilled": schedule.backfilled,
        "calendars_at": schedule.calendar_revisions,
    }
    return _encode(said).encode()


def without_payload(stored: bytes) -> bytes:
    """Such bytes without the job's payload, most of them, which need not be read for that: in JSON a quote within
    a text has a backslash before it, so that what is looked for is nowhere else; and no base64 has a bracket."""
    before, begun, behind = stored.partition(_PAYLOAD)
    return before + _PAYLOAD[:-1] + b"null" + behind.partition(b"]")[2] if begun else stored


def schedule_of(queue: str, schedule_id: str, stamp: str, stored: bytes) -> Schedule:
    """The schedule of such bytes."""
    said = json.loads(stored)
    spec = ScheduleSpec(
        queue,
        schedule_id,
        _timing_of(said["timing"]),
        _job_of(queue, said["job"]),
        Overlap(said["overlap"]),
        Missed(said["on_missed"]),
        _span(said["catch_up_window"]),
        said["catch_up_max"],
        said["paused"],
        said["pause_reason"],
        said["note"],
    )
    return Schedule(
        spec,
        to_time(said["create"]),
        _time(said["next"]),
        said["revision"],
        _time(said["last"]),
        _time(said["held"]),
        said["fired"],
        said["missed"],
        said["overlap_skipped"],
        said.get("backfilled", 0),
        tuple(said.get("calendars_at", ())),
        stamp,
    )


def _timing_to_json(timing: Timing) -> Mapping[str, Any]:
    rule = timing.rule
    return {
        "cron": [rule.time_zone, *rule.lines] if isinstance(rule, Cron) else None,
        "every": [to_ms(rule.interval), _time_ms(rule.anchor)] if isinstance(rule, Every) else None,
        "start": _time_ms(timing.start_time),
        "end": _time_ms(timing.end_time),
        "max_runs": timing.max_runs,
        "jitter": to_ms(timing.jitter),
        "calendars": [(use.name, int(use.on_excluded)) for use in timing.calendars],
    }


def _timing_of(said: Mapping[str, Any]) -> Timing:
    rule: Cron | Every
    if said["cron"] is not None:
        zone, *lines = said["cron"]
        rule = Cron(tuple(lines), zone)
    else:
        interval, anchor = said["every"]
        rule = Every(timedelta(milliseconds=interval), _time(anchor))
    return Timing(
        rule,
        _time(said["start"]),
        _time(said["end"]),
        said["max_runs"],
        timedelta(milliseconds=said["jitter"]),
        tuple(CalendarUse(name, OnExcluded(action)) for name, action in said["calendars"]),
    )


def _job_to_json(job: JobSpec) -> Mapping[str, Any]:
    retry, retention = job.terms.retry, job.terms.retention
    payload = job.payload
    return {
        "type": job.type,
        "payload": None if payload is None else [payload.kind, b64encode(payload.body).decode()],
        "priority": job.priority,
        "retry": [
            retry.max_attempts,
            int(retry.backoff),
            to_ms(retry.initial_delay),
            to_ms(retry.max_delay),
            retry.jitter,
        ],
        "timeout": _ms(job.terms.timeout),
        "retention": [to_ms(retention.completed_for), to_ms(retention.failed_for)],
        "tags": dict(job.tags),
        "conditions": conditions_to_json(job.conditions),
    }


def _job_of(queue: str, said: Mapping[str, Any]) -> JobSpec:
    payload = None if said["payload"] is None else Payload(said["payload"][0], b64decode(said["payload"][1]))
    terms = _terms_of(tuple(said["retry"]), said["timeout"], tuple(said["retention"]))
    return JobSpec(
        queue, said["type"], payload, said["priority"], terms, said["tags"], conditions_of(said.get("conditions"))
    )


@lru_cache(maxsize=1_000)  # most schedules have the queue's; and jobs whose terms are one object are added alike
def _terms_of(retry: tuple[Any, ...], timeout: int | None, retention: tuple[int, int]) -> Terms:
    attempts, backoff, initial, most, jitter = retry
    policy = RetryPolicy(
        attempts, Backoff(backoff), timedelta(milliseconds=initial), timedelta(milliseconds=most), jitter
    )
    return Terms(policy, _span(timeout), Retention(*(timedelta(milliseconds=ms) for ms in retention)))
