"""What went wrong with a job, as the source wrote it down: a reason, and a stack for each attempt it kept one of."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from tocsin_server.domain import limits
from tocsin_server.domain.job import JobError

_TYPE = re.compile(r"([A-Za-z_$][\w$.]{0,99}): ", re.ASCII)
_FRAMES = "\n    at "
_ERROR = "Error"
_FIRST, _LAST = 1, 9  # of many errors these are kept
_STALLED = "job stalled"  # a failure that no attempt found, and without a stack

CUT_MESSAGE = f"a message of its errors is cut to {limits.ERROR_MESSAGE_BYTES:,} bytes"
CUT_TRACE = f"a trace of its errors is cut to its last {limits.ERROR_TRACE_BYTES:,} bytes"
FEWER = f"of more than {_FIRST + _LAST} errors the first and the last {_LAST} are kept"


def errors_of(
    reason: str | None,
    stacks: Sequence[str],
    *,
    attempt: int,
    failures: int,
    last_time: datetime,
    first_time: datetime,
    whys: list[str],
) -> tuple[JobError, ...]:
    """The first error and the last 9, oldest first; the last one is that of attempt number `attempt`. `whys` hears what
    is left of them.

    The source has a time for the last one only: the others bear the time at which the job was made. A stack for each of
    the `failures` means that the reason is the last one's, whatever its stack says of it.
    """
    errors = [_error(stack, whys) for stack in stacks]
    if reason:
        message = _message(reason, whys)
        if errors and len(errors) >= failures > 0 and not reason.startswith(_STALLED):
            errors[-1] = replace(errors[-1], message=message)
        elif not (errors and errors[-1].message == message):
            errors.append(JobError(_ERROR, message))
    last = len(errors) - 1
    numbered = [
        JobError(
            error.type,
            error.message,
            error.trace,
            last_time if index == last else min(first_time, last_time),
            max(attempt - (last - index), 1),
        )
        for index, error in enumerate(errors)
    ]
    if last < _FIRST + _LAST:
        return tuple(numbered)
    _say(FEWER, whys)
    return tuple(numbered[:_FIRST] + numbered[-_LAST:])


def _error(stack: str, whys: list[str]) -> JobError:
    """From "TypeError: what it said\\n    at where", as V8 writes it. Anything else is a message."""
    head, frames, where = stack.partition(_FRAMES)
    kind = _TYPE.match(head)
    message = head[kind.end() :] if kind else head
    trace = _cut_start(stack, limits.ERROR_TRACE_BYTES) if frames and where else ""
    message = _message(message, whys)
    if trace and len(_encoded(stack)) > limits.ERROR_TRACE_BYTES:
        _say(CUT_TRACE, whys)
    return JobError(kind[1] if kind else _ERROR, message, trace)


def _message(text: str, whys: list[str]) -> str:
    if len(_encoded(text)) > limits.ERROR_MESSAGE_BYTES:
        _say(CUT_MESSAGE, whys)
    return cut(text, limits.ERROR_MESSAGE_BYTES)


def _say(why: str, whys: list[str]) -> None:
    if why not in whys:
        whys.append(why)


def cut(text: str, most: int) -> str:
    """The beginning, at most `most` bytes of UTF-8."""
    return _encoded(text)[:most].decode(errors="ignore")


def _cut_start(text: str, most: int) -> str:
    return _encoded(text)[-most:].decode(errors="ignore")


def _encoded(text: str) -> bytes:
    return text.encode(errors="replace")  # half of a surrogate pair, which JSON can say, becomes "?"
