"""Stored bytes to domain objects and back. A record's layout stands in lua/lib/job.lua; this file is its other half.

A record has its conditions before the tags, where the header flags them (store/condition_records.py). What follows the
tags: a byte of flags (1 own retry policy, 2 timeout), then >HB6s6sd max_attempts, backoff,
initial_delay, max_delay, jitter, and 6 bytes of timeout, each only where flagged; and 12 bytes of retention where the
header flags it. What is not there is `_COMMON_RETRY` and `_COMMON_RETENTION`, part of the format, so that the common
job spends one byte on all that.
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

from tocsin_server.domain.conditions import NO_CONDITIONS
from tocsin_server.domain.job import Cancel, Draft, Job, JobError, JobSpec, Payload, Progress, Retention, Terms, View
from tocsin_server.domain.retry import Backoff, RetryPolicy
from tocsin_server.domain.states import State
from tocsin_server.domain.times import time_to_ms, to_ms, to_time
from tocsin_server.store.condition_records import conditions_bytes, conditions_in, watched_in
from tocsin_server.store.redis.parent_records import parents_bytes

HEADER = struct.Struct(">BBiIHBI6s6s6s6s8sH")
_DRAFT = struct.Struct(">BB6sBi")
_RETRY = struct.Struct(">HB6s6sd")
_CHANGE = struct.Struct(">BB6sBiBd")
_ERROR_HEAD = struct.Struct(">6sI")
_COMMON_RETRY = RetryPolicy(3, Backoff.EXPONENTIAL, timedelta(seconds=2), timedelta(hours=1), 0.2)
_COMMON_RETENTION = Retention(timedelta(days=1), timedelta(days=30))
_OWN_RETRY, _TIMEOUT = 1, 2
#: Flags of a record's header, as in lua/lib/job.lua.
CANCEL_ASKED, HAS_EXTRAS, OWN_ID, OWN_RETENTION, FIRED, CONDITIONS, FILED = 1, 2, 4, 8, 32, 64, 128
_ARRIVAL = 6  # bytes of it before a record, in an answer
_META = _ARRIVAL + HEADER.size
_CREATE = slice(17, 23)  # of a meta
NO_EXTRAS: Mapping[bytes, bytes] = {}


def _span(ms: int) -> timedelta:
    return timedelta(milliseconds=ms)


def six_bytes(number: int) -> bytes:
    """A number in six bytes, as times and arrivals are stored."""
    return number.to_bytes(6, "big")


def _number(six: bytes) -> int:
    return int.from_bytes(six, "big")


#: The state of a held job is greater by this, as in lua/lib/job.lua.
PUT_BY = 16
_STATES = {int(state): state for state in State}
_ACTIVE = int(State.ACTIVE)


@lru_cache(maxsize=4096)
def _some_time(six: bytes) -> datetime | None:
    """Jobs that were made or leased together have the same times."""
    return to_time(ms) if (ms := int.from_bytes(six, "big")) else None


@lru_cache(maxsize=4096)
def _time(six: bytes) -> datetime:
    return to_time(int.from_bytes(six, "big"))


# --- what goes in ---


def rest_bytes(spec: JobSpec) -> bytes:
    """All of the spec that its header, id and payload do not hold."""
    return _head_bytes(spec) + _tags_bytes(spec.tags) + _terms_bytes(spec.terms)


def conditions_flag(spec: JobSpec) -> int:
    """The header's flag of conditions."""
    return 0 if spec.conditions is NO_CONDITIONS else CONDITIONS


def _head_bytes(spec: JobSpec) -> bytes:
    kind = _type_bytes(spec.type)
    return kind if spec.conditions is NO_CONDITIONS else kind + conditions_bytes(spec.conditions)


def retention_flag(terms: Terms) -> int:
    """The header's flag of retention."""
    return 0 if terms.retention == _COMMON_RETENTION else OWN_RETENTION


def terms_bytes(terms: Terms, tags: Mapping[str, str]) -> bytes:
    """The terms of a standing job, and its tags, as update.lua reads them."""
    return bytes((retention_flag(terms),)) + _tags_bytes(tags) + _terms_bytes(terms)


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


def _terms_bytes(terms: Terms) -> bytes:
    retry, timeout = terms.retry, terms.timeout
    own_retry = retry != _COMMON_RETRY
    packed = bytes((own_retry * _OWN_RETRY | (timeout is not None) * _TIMEOUT,))
    if own_retry:
        delays = six_bytes(to_ms(retry.initial_delay)), six_bytes(to_ms(retry.max_delay))
        packed += _RETRY.pack(retry.max_attempts, retry.backoff, *delays, retry.jitter)
    if timeout is not None:
        packed += six_bytes(to_ms(timeout))
    if retention_flag(terms):
        packed += six_bytes(to_ms(terms.retention.completed_for)) + six_bytes(to_ms(terms.retention.failed_for))
    return packed


def payload_bytes(payload: Payload | None) -> bytes:
    """A payload as a record ends with it: its kind, then its body."""
    return b"\0" if payload is None else bytes((payload.kind,)) + payload.body


def draft_arguments(drafts: Sequence[Draft]) -> list[tuple[bytes, bytes]]:
    """Jobs to add, as add.lua reads them: of each its head, one object where jobs beside each other have the same, and
    its own with its payload."""
    arguments = []
    seeds = _own_bytes(len(drafts)) if any(draft.job_id is None for draft in drafts) else b""
    terms, packed_terms, flags = None, b"", 0
    last, head = None, b""
    for at, draft in enumerate(drafts):
        spec, when, job_id = draft.spec, draft.when, draft.job_id
        if spec.terms is not terms:
            terms = spec.terms
            packed_terms, flags = _terms_bytes(terms), retention_flag(terms)
        if last is None or not _alike(draft, last):
            is_delay = isinstance(when, timedelta)
            ms = max(0, to_ms(when) if isinstance(when, timedelta) else time_to_ms(when))
            own_flags = (0 if job_id is None else OWN_ID) | (FIRED if draft.fired else 0) | conditions_flag(spec)
            head = _DRAFT.pack(draft.on_conflict, is_delay, six_bytes(ms), flags | own_flags, spec.priority)
            head += _head_bytes(spec) + _tags_bytes(spec.tags) + packed_terms
        last = draft
        own = seeds[4 * at : 4 * at + 4] if job_id is None else id_bytes(job_id)
        body = own + payload_bytes(spec.payload)
        if spec.conditions is not NO_CONDITIONS and spec.conditions.depends is not None:
            packed = parents_bytes(draft.parents)
            body += packed + len(packed).to_bytes(4, "big")
        arguments.append((head, body))
    return arguments


def _alike(one: Draft, other: Draft) -> bool:
    """Whether two jobs differ in their ids and payloads alone."""
    spec, others = one.spec, other.spec
    return (
        spec.terms is others.terms
        and spec.type == others.type
        and spec.priority == others.priority
        and spec.tags == others.tags
        and spec.conditions == others.conditions
        and one.when == other.when
        and type(one.when) is type(other.when)
        and one.on_conflict == other.on_conflict
        and (one.job_id is None) == (other.job_id is None)
        and one.fired == other.fired
    )


def _own_bytes(jobs: int) -> bytes:
    """Of each job the random bits of the id that the store is to make (lua/lib/ids.lua): 12, and 14 behind a UUID's
    variant."""
    random = int.from_bytes(secrets.token_bytes(4 * jobs), "big")
    kept, variants = int.from_bytes(b"\x0f\xff\x3f\xff" * jobs, "big"), int.from_bytes(b"\0\0\x80\0" * jobs, "big")
    return (random & kept | variants).to_bytes(4 * jobs, "big")


def id_bytes(job_id: str) -> bytes:
    """An id that the store has not made, as a record's own part."""
    name = job_id.encode()
    return len(name).to_bytes(2, "big") + name


def made_id(create: bytes, own: bytes, arrival: bytes) -> str:
    """An id that the store has made: a UUIDv8."""
    time, random = create.hex(), own.hex()
    return f"{time[:8]}-{time[8:]}-8{random[1:4]}-{random[4:]}-{arrival.hex()}"


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


def _read_spec(record: bytes, end: int, queue: str, flags: int, priority: int, payload: Payload | None) -> JobSpec:
    kind_end = _META + 1 + record[_META]
    kind = record[_META + 1 : kind_end].decode()
    conditions = NO_CONDITIONS
    if flags & CONDITIONS:
        block_at = kind_end + 2
        kind_end = block_at + int.from_bytes(record[kind_end:block_at], "big")
        conditions = conditions_in(bytes(record[block_at:kind_end]))
    tags: dict[str, str] = {}
    at = kind_end + 1
    for _ in range(record[kind_end]):
        name_end = at + 1 + record[at]
        value_end = name_end + 1 + record[name_end]
        tags[record[at + 1 : name_end].decode()] = record[name_end + 1 : value_end].decode()
        at = value_end
    terms = _terms_of(record[at:end], bool(flags & OWN_RETENTION))
    return JobSpec(queue, kind, payload, priority, terms, tags, conditions)


def _conditions_block(record: bytes) -> bytes:
    at = _META + 1 + record[_META]
    return bytes(record[at + 2 : at + 2 + int.from_bytes(record[at : at + 2], "big")])


@lru_cache(maxsize=1024)
def _terms_of(packed: bytes, own_retention: bool) -> Terms:
    """Jobs of the same terms share one object of them."""
    flags, at = packed[0], 1
    retry, timeout = _COMMON_RETRY, None
    if flags & _OWN_RETRY:
        attempts, backoff, initial, longest, jitter = _RETRY.unpack_from(packed, at)
        retry = RetryPolicy(attempts, Backoff(backoff), _span(_number(initial)), _span(_number(longest)), jitter)
        at += _RETRY.size
    if flags & _TIMEOUT:
        timeout = _span(_number(packed[at : at + 6]))
        at += 6
    retention = _COMMON_RETENTION
    if own_retention:
        retention = Retention(_span(_number(packed[at : at + 6])), _span(_number(packed[at + 6 : at + 12])))
    return Terms(retry, timeout, retention)


def has_extras(record: bytes) -> bool:
    """Whether the job of an answer bears any."""
    return bool(record[_ARRIVAL + 1] & HAS_EXTRAS)


def own_end(packed: bytes, at: int, meta: bytes) -> int:
    """Where the own part ends that begins there, of a job of this meta."""
    return at + (2 + int.from_bytes(packed[at : at + 2], "big") if meta[1] & OWN_ID else 4)


def job_of(queue: str, answer: bytes | list[Any], view: View) -> Job:
    """A job from a script's answer: arrival, meta, own and payload (lua/lib/job.lua), or a list of that and its extras.

    View.FULL reads the payload where the answer has it. Extras of a job that bears none are absent.
    """
    record, pairs = answer if isinstance(answer, list) else (answer, None)
    header = HEADER.unpack_from(record, _ARRIVAL)
    state, flags, priority, attempt, failures, crashes, revision, create, due, start, end, _token, rest_len = header
    own_at = _META + rest_len
    job_id, own_end = _read_id(record, own_at, flags, create)
    payload = None
    if view is View.FULL and len(record) > own_end and record[own_end]:
        payload = Payload(record[own_end], bytes(record[own_end + 1 :]))
    job = Job(
        job_id,
        _read_spec(record, own_at, queue, flags, priority, payload),
        _STATES[state & ~PUT_BY],
        _time(create),
        _time(due),
        _some_time(start),
        # Of an ACTIVE job its lease's; of one that is filed by its key it says that it keeps its place.
        None if state == _ACTIVE or (flags & FILED and state & ~PUT_BY < _ACTIVE) else _some_time(end),
        attempt,
        failures,
        crashes,
        revision,
        _number(record[:_ARRIVAL]),
        fired=bool(flags & FIRED),
        held=state > PUT_BY,
        watched=bool(flags & CONDITIONS) and watched_in(_conditions_block(record)),
    )
    return with_extras(job, extras_of(pairs), view) if pairs else job


def _read_id(record: bytes, own_at: int, flags: int, create: bytes) -> tuple[str, int]:
    """A job's id, and where its own part ends."""
    if flags & OWN_ID:
        own_end = own_at + 2 + int.from_bytes(record[own_at : own_at + 2], "big")
        return record[own_at + 2 : own_end].decode(), own_end
    return made_id(create, record[own_at : own_at + 4], record[:_ARRIVAL]), own_at + 4


class AlikeReader:
    """Jobs from answers of one call, in view BASIC. Jobs that stand alike share one spec and all else that is not their
    own; to read another one then costs a fifth."""

    __slots__ = ("_extras", "_job", "_meta", "_queue")

    def __init__(self, queue: str) -> None:
        self._queue = queue
        self._meta, self._extras = b"", None
        self._job: Job | None = None

    def __call__(self, answer: bytes | list[Any]) -> Job:
        record, pairs = answer if isinstance(answer, list) else (answer, None)
        own_at = _META + int.from_bytes(record[_META - 2 : _META], "big")
        meta, last = record[_ARRIVAL:own_at], self._job
        if last is None or meta != self._meta or pairs != self._extras:
            self._meta, self._extras = meta, pairs
            self._job = job_of(self._queue, answer, View.BASIC)
            if self._job.fired:  # its id says more of it, and so it has none that is alike
                self._meta = b""
            return self._job
        return Job(
            _read_id(record, own_at, meta[1], meta[_CREATE])[0],
            last.spec,
            last.state,
            last.create_time,
            last.schedule_time,
            last.start_time,
            last.end_time,
            last.attempt,
            last.failures,
            last.crashes,
            last.revision,
            _number(record[:_ARRIVAL]),
            last.errors,
            last.progress,
            None,
            last.cancel,
            held=last.held,
            watched=last.watched,
        )


def lease_end(answer: bytes | list[Any]) -> datetime | None:
    """When the lease of an answer's job ends; None where it is not ACTIVE."""
    record = answer[0] if isinstance(answer, list) else answer
    header = HEADER.unpack_from(record, _ARRIVAL)
    return _some_time(header[10]) if header[0] == State.ACTIVE else None


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
