"""How an attempt ended, from what its handler returned or raised."""

from __future__ import annotations

import asyncio
import inspect
import traceback

from tocsin.worker.errors import DoNotRetry, HandedOver, InvalidPayload, JobCancelled, Release, RetryLater, UnfitResult
from tocsin.worker.payloads import encode_result
from tocsin.worker.source import AttemptOutcome, Ending, LeasedJob

# CONTRACT: longer ones are cut, messages at their end, traces at their start.
ERROR_TYPE_BYTES = 200
ERROR_MESSAGE_BYTES = 1 << 10
ERROR_TRACE_BYTES = 8 << 10

#: error_type of an attempt that passed its timeout.
TIMEOUT = "TIMEOUT"
#: error_type of an attempt that stopped because it was asked to.
CANCELLED = "CANCELLED"
#: error_type of an attempt whose own process died.
CRASHED = "CRASHED"
#: error_type of a job whose payload is not of its handler's class. The handler was not called.
INVALID_PAYLOAD = "INVALID_PAYLOAD"


def returned(job: LeasedJob, value: object) -> AttemptOutcome:
    """The handler returned: COMPLETED, or FAILED for good where its result cannot be kept."""
    if value is None:
        return AttemptOutcome(job, Ending.COMPLETED)
    try:
        if inspect.iscoroutine(value):
            value.close()
            raise UnfitResult("the handler returned a coroutine that nobody awaits: declare the handler `async def`")
        return AttemptOutcome(job, Ending.COMPLETED, encode_result(value))
    except BaseException as error:  # a hostile object may raise anything while it is looked at
        return raised(job, error)


def raised(job: LeasedJob, error: BaseException) -> AttemptOutcome:
    """The handler raised: FAILED, or what it asks for. SystemExit and KeyboardInterrupt are failures like any other.
    Never raises itself: an attempt must always be heard of."""
    try:
        return _raised(job, error)
    except BaseException:  # put into this thread from outside, while it looked
        return AttemptOutcome(job, Ending.FAILED, error_type="ERROR", error_message="<the error cannot be looked at>")


def not_begun(job: LeasedJob) -> AttemptOutcome:
    """The handler was not called, for want of a thread, a loop or a process: nothing is counted."""
    return AttemptOutcome(job, Ending.RELEASED)


def _raised(job: LeasedJob, error: BaseException) -> AttemptOutcome:
    if isinstance(error, InvalidPayload):  # no trace: no code of the user's failed
        message = cut(str(error), ERROR_MESSAGE_BYTES)
        return AttemptOutcome(job, Ending.FAILED, error_type=INVALID_PAYLOAD, error_message=message, retryable=False)
    if isinstance(error, HandedOver):
        return AttemptOutcome(job, Ending.HANDED_OVER, lease=error.lease)
    if isinstance(error, Release):
        return AttemptOutcome(job, Ending.RELEASED, reason=cut(error.reason, ERROR_MESSAGE_BYTES))
    stopped = isinstance(error, asyncio.CancelledError | JobCancelled)
    return AttemptOutcome(
        job,
        Ending.FAILED,
        error_type=CANCELLED if stopped else cut(type(error).__name__, ERROR_TYPE_BYTES),
        error_message=cut(_message(error), ERROR_MESSAGE_BYTES),
        error_trace=cut_start(_trace(error), ERROR_TRACE_BYTES),
        retryable=not isinstance(error, DoNotRetry),
        retry_in=error.delay if isinstance(error, RetryLater) else None,
        pause_limit=error.pause_limit if isinstance(error, RetryLater) else "",
    )


def crashed(job: LeasedJob, message: str) -> AttemptOutcome:
    """The attempt's own process died before it said how the attempt ended."""
    return AttemptOutcome(job, Ending.CRASHED, error_type=CRASHED, error_message=cut(message, ERROR_MESSAGE_BYTES))


def _message(error: BaseException) -> str:
    try:
        return str(error)
    except BaseException as again:
        return f"<the error's text cannot be had: {type(again).__name__}>"


def _trace(error: BaseException) -> str:
    # The first frame is the runtime's own call of the handler.
    frames = error.__traceback__.tb_next if error.__traceback__ else None
    try:
        return "".join(traceback.format_exception(type(error), error, frames))
    except BaseException as again:
        return f"<the trace cannot be had: {type(again).__name__}>"


def cut(text: str, limit: int) -> str:
    """The beginning of `text`, at most `limit` bytes of UTF-8; half a surrogate pair becomes "?"."""
    if len(text) * 4 <= limit and text.isascii():
        return text
    encoded = text.encode("utf-8", "replace")
    return (encoded if len(encoded) <= limit else encoded[:limit]).decode("utf-8", "ignore")


def cut_start(text: str, limit: int) -> str:
    """The end of `text`, at most `limit` bytes of UTF-8; half a surrogate pair becomes "?"."""
    encoded = text.encode("utf-8", "replace")
    return (encoded if len(encoded) <= limit else encoded[-limit:]).decode("utf-8", "ignore")
