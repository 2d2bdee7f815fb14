"""What a process and the one attempt it runs tell each other: frames of a JSON object and some bytes, over pipes."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

from tocsin.tracing import TraceContext
from tocsin.worker.source import AttemptOutcome, Ending, LeasedJob

_HEAD = struct.Struct(">II")  # lengths of the object and of the bytes
HEAD_BYTES = _HEAD.size

#: A frame: an object, and bytes (a payload, a result).
Frame = tuple[dict[str, Any], bytes]


def pack(said: dict[str, Any], body: bytes = b"") -> bytes:
    """One frame."""
    text = json.dumps(said).encode()
    return _HEAD.pack(len(text), len(body)) + text + body


def parts(several: Sequence[bytes | None]) -> tuple[list[int | None], bytes]:
    """The lengths of several byte strings, for the object, and all of them in a row, for the bytes. None stays None."""
    return [None if one is None else len(one) for one in several], b"".join(one for one in several if one is not None)


def parts_of(lengths_: Sequence[int | None], body: bytes) -> list[bytes | None]:
    """Several byte strings, as `parts` has put them together."""
    found, at = list[bytes | None](), 0
    for length in lengths_:
        found.append(None if length is None else body[at : at + length])
        at += length or 0
    return found


def lengths(head: bytes) -> tuple[int, int]:
    """How long the two parts after a head of HEAD_BYTES are."""
    text, body = _HEAD.unpack(head)
    return text, body


def parse(text: bytes) -> dict[str, Any]:
    """The object of a frame."""
    said: dict[str, Any] = json.loads(text)
    return said


def read(exactly: Callable[[int], bytes | None]) -> Frame | None:
    """The next frame, by a function that reads exactly so many bytes (None: the other side is gone)."""
    head = exactly(HEAD_BYTES)
    if head is None:
        return None
    text_bytes, body_bytes = lengths(head)
    text, body = exactly(text_bytes), exactly(body_bytes)
    return None if text is None or body is None else (parse(text), body)


def job_to_json(job: LeasedJob) -> dict[str, Any]:
    """All of a job but its token and payload bytes."""
    return {
        "queue": job.queue,
        "job_id": job.job_id,
        "type": job.type,
        "attempt": job.attempt,
        "payload_kind": job.payload_kind,
        "create_time": job.create_time.isoformat(),
        "schedule_time": job.schedule_time.isoformat(),
        "timeout": _seconds(job.timeout),
        "failures": job.failures,
        "crashes": job.crashes,
        "priority": job.priority,
        "tags": dict(job.tags),
        "fired": job.fired,
        "trace": job.trace,
    }


def job_from_json(said: dict[str, Any], body: bytes) -> LeasedJob:
    """The job again; its token is not told to handlers' processes and is empty."""
    return LeasedJob(
        **{
            **said,
            "token": b"",
            "payload_body": body,
            "create_time": datetime.fromisoformat(said["create_time"]),
            "schedule_time": datetime.fromisoformat(said["schedule_time"]),
            "timeout": _timedelta(said["timeout"]),
            "trace": None if said["trace"] is None else TraceContext(*said["trace"]),
        }
    )


def outcome_to_json(outcome: AttemptOutcome) -> dict[str, Any]:
    """All of an outcome but its job and the bytes of its result."""
    return {
        "ending": int(outcome.ending),
        "has_result": outcome.result is not None,
        "error_type": outcome.error_type,
        "error_message": outcome.error_message,
        "error_trace": outcome.error_trace,
        "retryable": outcome.retryable,
        "retry_in": _seconds(outcome.retry_in),
        "pause_limit": outcome.pause_limit,
        "reason": outcome.reason,
    }


def outcome_from_json(job: LeasedJob, said: dict[str, Any], body: bytes) -> AttemptOutcome:
    """The outcome again."""
    return AttemptOutcome(
        job,
        Ending(said["ending"]),
        result=body if said["has_result"] else None,
        error_type=said["error_type"],
        error_message=said["error_message"],
        error_trace=said["error_trace"],
        retryable=said["retryable"],
        retry_in=_timedelta(said["retry_in"]),
        pause_limit=said["pause_limit"],
        reason=said["reason"],
    )


def _seconds(span: timedelta | None) -> float | None:
    return None if span is None else span.total_seconds()


def _timedelta(seconds: float | None) -> timedelta | None:
    return None if seconds is None else timedelta(seconds=seconds)
