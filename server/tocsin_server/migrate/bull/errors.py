"""What went wrong with a job, as the source wrote it down: a reason, and a stack for each attempt it kept one of."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime

from tocsin_server.domain import limits
from tocsin_server.domain.job import JobError

_TYPE = re.compile(r"([A-Za-z_$][\w$.]{0,99}): ", re.ASCII)
_FRAMES = "\n    at "
_ERROR = "Error"
_FIRST, _LAST = 1, 9  # of many errors these are kept


def errors_of(
    reason: str | None, stacks: Sequence[str], *, attempt: int, last_time: datetime, first_time: datetime
) -> tuple[JobError, ...]:
    """The first error and the last 9, oldest first; the last one is that of attempt number `attempt`.

    The source has a time for the last one only: the others bear the time at which the job was made.
    """
    found = [_error(stack) for stack in stacks]
    if reason and not (found and found[-1].message == cut(reason, limits.ERROR_MESSAGE_BYTES)):
        found.append(JobError(_ERROR, cut(reason, limits.ERROR_MESSAGE_BYTES)))
    last = len(found) - 1
    numbered = [
        JobError(
            error.type,
            error.message,
            error.trace,
            last_time if index == last else min(first_time, last_time),
            max(attempt - (last - index), 1),
        )
        for index, error in enumerate(found)
    ]
    return tuple(numbered if last < _FIRST + _LAST else numbered[:_FIRST] + numbered[-_LAST:])


def _error(stack: str) -> JobError:
    """From "TypeError: what it said\\n    at where", as V8 writes it. Anything else is a message."""
    head, frames, where = stack.partition(_FRAMES)
    kind = _TYPE.match(head)
    message = head[kind.end() :] if kind else head
    trace = _cut_start(stack, limits.ERROR_TRACE_BYTES) if frames and where else ""
    return JobError(kind[1] if kind else _ERROR, cut(message, limits.ERROR_MESSAGE_BYTES), trace)


def cut(text: str, most: int) -> str:
    """The beginning, at most `most` bytes of UTF-8."""
    return _encoded(text)[:most].decode(errors="ignore")


def _cut_start(text: str, most: int) -> str:
    return _encoded(text)[-most:].decode(errors="ignore")


def _encoded(text: str) -> bytes:
    return text.encode(errors="replace")  # half of a surrogate pair, which JSON can say, becomes "?"
