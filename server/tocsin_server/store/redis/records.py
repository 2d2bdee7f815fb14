"""Stored bytes to domain objects and back. A record's layout stands in lua/lib/job.lua; this file is its other half.

What follows the tags in a record only this file reads: a byte of flags (1 own retry policy, 2 timeout), then
>HB6s6sd max_attempts, backoff, initial_delay, max_delay, jitter, and 6 bytes of timeout, each only where flagged.
Flag 1 off means `_COMMON_RETRY`, part of format 1, so that the common job spends one byte on it.
Milliseconds stand only in this file and in Lua.
"""

from __future__ import annotations

import secrets
import struct
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

from tocsin_server.domain.job import Cancel, Draft, Job, JobError, JobSpec, Payload, Progress, Retention, Terms, View
from tocsin_server.domain.retry import Backoff, RetryPolicy
from tocsin_server.domain.states import State
from tocsin_server.domain.times import time_to_ms, to_ms, to_time

HEADER = struct.Struct(">BBiIHBI6s6s6s6s6s8s6s6sI")
_DRAFT = struct.Struct(">BB6si12s4sH")
_RETRY = struct.Struct(">HB6s6sd")
_CHANGE = struct.Struct(">BB6sBiBd")
_ERROR_HEAD = struct.Struct(">6sI")
_COMMON_RETRY = RetryPolicy(3, Backoff.EXPONENTIAL, timedelta(seconds=2), timedelta(hours=1), 0.2)
_OWN_RETRY, _TIMEOUT = 1, 2
NO_EXTRAS: Mapping[bytes, bytes] = {}


def _span(ms: int) -> timedelta:
    return timedelta(milliseconds=ms)


def six_bytes(number: int) -> bytes:
    """A number in six bytes, as times and arrivals are stored."""
    return number.to_bytes(6, "big")


def _number(six: bytes) -> int:
    return int.from_bytes(six, "big")


def _some_time(six: bytes) -> datetime | None:
    return to_time(ms) if (ms := int.from_bytes(six, "big")) else None


# --- what goes in ---


def rest_bytes(spec: JobSpec) -> bytes:
    """All of the spec that its header, id and payload do not hold."""
    return _type_bytes(spec.type) + _tags_bytes(spec.tags) + _retry_and_timeout(spec.terms)


def retention_bytes(retention: Retention) -> bytes:
    """How long an ended job stands: COMPLETED or CANCELLED, then FAILED, six bytes each."""
    return six_bytes(to_ms(retention.completed_for)) + six_bytes(to_ms(retention.failed_for))


def terms_bytes(terms: Terms, tags: Mapping[str, str]) -> bytes:
    """The terms of a standing job, and its tags, as update.lua reads them."""
    return retention_bytes(terms.retention) + _tags_bytes(tags) + _retry_and_timeout(terms)


@lru_cache(maxsize=1024)
def _type_bytes(type_: str) -> bytes:
    kind = type_.encode()
    return bytes((len(kind),)) + kind


def _tags_bytes(tags: Mapping[str, str]) -> bytes:
    if not tags:
        return b"\0"
    parts = [bytes((len(tags),))]
    for name, value in tags.items():
        key, said = name.encode(), value.encode()
        parts += (bytes((len(key),)), key, bytes((len(said),)), said)
    return b"".join(parts)


def _retry_and_timeout(terms: Terms) -> bytes:
    retry, timeout = terms.retry, terms.timeout
    own_retry = retry != _COMMON_RETRY
    packed = bytes((own_retry * _OWN_RETRY | (timeout is not None) * _TIMEOUT,))
    if own_retry:
        delays = six_bytes(to_ms(retry.initial_delay)), six_bytes(to_ms(retry.max_delay))
        packed += _RETRY.pack(retry.max_attempts, retry.backoff, *delays, retry.jitter)
    if timeout is not None:
        packed += six_bytes(to_ms(timeout))
    return packed


def payload_bytes(payload: Payload | None) -> bytes:
    """A payload as a record ends with it: its kind, then its body."""
    return b"\0" if payload is None else bytes((payload.kind,)) + payload.body


def draft_arguments(drafts: Sequence[Draft]) -> list[tuple[bytes, bytes]]:
    """Jobs to add, as add.lua reads them: each in two strings, its payload and all else."""
    arguments = []
    seeds = secrets.token_bytes(4 * len(drafts))
    terms, retention, retry_and_timeout = None, b"", b""
    for at, draft in enumerate(drafts):
        spec, when = draft.spec, draft.when
        if spec.terms is not terms:
            terms = spec.terms
            retention, retry_and_timeout = retention_bytes(terms.retention), _retry_and_timeout(terms)
        is_delay = isinstance(when, timedelta)
        ms = max(0, to_ms(when) if isinstance(when, timedelta) else time_to_ms(when))
        job_id = b"" if draft.job_id is None else draft.job_id.encode()
        head = _DRAFT.pack(
            draft.on_conflict,
            is_delay,
            six_bytes(ms),
            spec.priority,
            retention,
            seeds[4 * at : 4 * at + 4],
            len(job_id),
        )
        rest = _type_bytes(spec.type) + _tags_bytes(spec.tags) + retry_and_timeout
        arguments.append((head + job_id + rest, payload_bytes(spec.payload)))
    return arguments


def change_arguments(when: datetime | timedelta | None, priority: int | None, revision: int | None) -> bytes:
    """What UpdateJob changes beside the payload, as update.lua reads it."""
    is_delay = isinstance(when, timedelta)
    ms = 0
    if when is not None:
        ms = max(0, to_ms(when) if isinstance(when, timedelta) else time_to_ms(when))
    return _CHANGE.pack(
        when is not None,
        is_delay,
        six_bytes(ms),
        priority is not None,
        priority or 0,
        revision is not None,
        revision or 0,
    )


def error_bytes(error: JobError) -> bytes:
    """An attempt's error, without the time and attempt that the store adds."""
    kind, message = error.type.encode(errors="replace"), error.message.encode(errors="replace")
    lengths = len(kind).to_bytes(2, "big"), len(message).to_bytes(2, "big")
    return lengths[0] + kind + lengths[1] + message + error.trace.encode(errors="replace")


def wish_bytes(grace: timedelta, reason: str, by: str) -> bytes:
    """A wish to cancel, without the times that the store adds."""
    said = reason.encode()
    return six_bytes(to_ms(grace)) + len(said).to_bytes(2, "big") + said + by.encode()


def progress_bytes(fraction: float, message: str) -> bytes:
    """Progress, without the time that the store adds."""
    return struct.pack(">d", fraction) + message.encode(errors="replace")


# --- what comes out ---


def _read_spec(record: bytes, at: int, queue: str, header: tuple[Any, ...], payload: Payload | None) -> JobSpec:
    kind_end = at + 1 + record[at]
    kind = record[at + 1 : kind_end].decode()
    tags: dict[str, str] = {}
    at = kind_end + 1
    for _ in range(record[kind_end]):
        name_end = at + 1 + record[at]
        value_end = name_end + 1 + record[name_end]
        tags[record[at + 1 : name_end].decode()] = record[name_end + 1 : value_end].decode()
        at = value_end
    terms = _terms_of(record[at : header[15]], header[13], header[14])
    return JobSpec(queue, kind, payload, header[2], terms, tags)


@lru_cache(maxsize=1024)
def _terms_of(packed: bytes, completed_for: bytes, failed_for: bytes) -> Terms:
    """Jobs of the same terms share one object of them."""
    flags, at = packed[0], 1
    retry, timeout = _COMMON_RETRY, None
    if flags & _OWN_RETRY:
        attempts, backoff, initial, longest, jitter = _RETRY.unpack_from(packed, at)
        retry = RetryPolicy(attempts, Backoff(backoff), _span(_number(initial)), _span(_number(longest)), jitter)
        at += _RETRY.size
    if flags & _TIMEOUT:
        timeout = _span(_number(packed[at : at + 6]))
    return Terms(retry, timeout, Retention(_span(_number(completed_for)), _span(_number(failed_for))))


def job_of(queue: str, answer: Sequence[Any], view: View) -> Job:
    """A job from a script's answer {arrival, record, extras}.

    View.FULL reads the payload where the record has it. Extras of a job that bears none are absent.
    """
    arrival, record, pairs = answer
    header = HEADER.unpack_from(record)
    state, _flags, _priority, attempt, failures, crashes, revision = header[:7]
    create, due, start, end = header[7:11]
    meta_len = header[15]
    id_end = HEADER.size + 2 + int.from_bytes(record[HEADER.size : HEADER.size + 2], "big")
    payload = None
    if view is View.FULL and len(record) > meta_len and record[meta_len]:
        payload = Payload(record[meta_len], bytes(record[meta_len + 1 :]))
    spec = _read_spec(record, id_end, queue, header, payload)
    job = Job(
        record[HEADER.size + 2 : id_end].decode(),
        spec,
        State(state),
        to_time(_number(create)),
        to_time(_number(due)),
        _some_time(start),
        _some_time(end),
        attempt,
        failures,
        crashes,
        revision,
        _number(arrival),
    )
    return with_extras(job, extras_of(pairs), view) if pairs else job


def extras_of(pairs: Sequence[bytes] | None) -> Mapping[bytes, bytes]:
    """The flat answer of HGETALL as a mapping."""
    return dict(zip(pairs[::2], pairs[1::2], strict=True)) if pairs else NO_EXTRAS


def with_extras(job: Job, extras: Mapping[bytes, bytes], view: View) -> Job:
    """The job with its errors, progress, result and cancel; BASIC leaves out the result and traces."""
    if not extras:
        return job
    return replace(
        job,
        errors=_errors(extras[b"e"], view) if b"e" in extras else (),
        progress=_progress(extras[b"p"]) if b"p" in extras else None,
        result=extras.get(b"r") if view is View.FULL else None,
        cancel=_cancel(extras[b"c"]) if b"c" in extras else None,
    )


def _errors(stored: bytes, view: View) -> tuple[JobError, ...]:
    found, at = [], 0
    while at < len(stored):
        end = at + 4 + int.from_bytes(stored[at : at + 4], "big")
        time, attempt = _ERROR_HEAD.unpack_from(stored, at + 4)
        at += 4 + _ERROR_HEAD.size
        type_end = at + 2 + int.from_bytes(stored[at : at + 2], "big")
        message_end = type_end + 2 + int.from_bytes(stored[type_end : type_end + 2], "big")
        found.append(
            JobError(
                stored[at + 2 : type_end].decode(),
                stored[type_end + 2 : message_end].decode(errors="replace"),
                stored[message_end:end].decode(errors="replace") if view is View.FULL else "",
                to_time(_number(time)),
                attempt,
            )
        )
        at = end
    return tuple(found)


def _progress(stored: bytes) -> Progress:
    [fraction] = struct.unpack_from(">d", stored, 6)
    return Progress(fraction, stored[14:].decode(errors="replace"), to_time(_number(stored[:6])))


def _cancel(stored: bytes) -> Cancel:
    ask, deliver, obey, grace = stored[:6], stored[6:12], stored[12:18], stored[18:24]
    reason_end = 26 + int.from_bytes(stored[24:26], "big")
    return Cancel(
        stored[26:reason_end].decode(errors="replace"),
        stored[reason_end:].decode(errors="replace"),
        _span(_number(grace)),
        to_time(_number(ask)),
        _some_time(deliver),
        _some_time(obey),
    )
