"""Requests of workers. The messages are the shadow ones of wire.py."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import cast

from google.protobuf.message import DecodeError
from tocsin.v1 import job_pb2
from tocsin.v1 import worker_service_pb2 as pb

from tocsin_server.api import page_tokens, wire
from tocsin_server.api.lease_tokens import read_token
from tocsin_server.api.reading import read as read_message
from tocsin_server.api.requests.jobs import check_page_size, page_size, queue_of
from tocsin_server.api.requests.queue_limits import is_limit_name
from tocsin_server.api.requests.violations import Violations
from tocsin_server.api.times import to_span, to_time
from tocsin_server.domain import limits
from tocsin_server.domain.errors import InvalidFields, TocsinError, Violation
from tocsin_server.domain.job import JobError
from tocsin_server.domain.lease import Ending, Extension, LimitPause
from tocsin_server.domain.logs import LogLine
from tocsin_server.domain.workers import Ask, HeldToken, Poll, WorkerIdentity
from tocsin_server.operations.finishing import EndedAttempt, shorten
from tocsin_server.operations.working.conversation import Heard, Hello

_NO_TOKEN = "is no token of a lease: give it as it came with the job"  # noqa: S105 - a sentence
_Outcome = wire.shadow(pb.Outcome)
_TOKEN, _COMPLETED = 0x0A, b"\x12\x00"  # the tag of an outcome's token, and an empty Completed
_ONE_BYTE = 0x80  # lengths below it have one
_LEVELS = range(1, 5)
_INFO = 2
_NO_ERROR = "ERROR"


def lease_jobs(request: pb.LeaseJobsRequest) -> Poll:
    """A wish for jobs."""
    wrong = Violations()
    _check_worker(wrong, "worker", request.worker)
    _check_asks(wrong, "asks", request.asks)
    for i, ask in enumerate(request.asks[: limits.ASKS]):
        wrong.number(f"asks[{i}].max_jobs", ask.max_jobs, 1, limits.LEASED_AT_ONCE)
        if ask.all_queues and request.request_id:
            wrong.add("request_id", "goes with queues by name, not with all_queues")
    lease = _lease(wrong, "lease", request)
    if request.HasField("wait"):
        wrong.span("wait", request.wait, timedelta(0), limits.MAX_WAIT, "0 to 60 s")
    wrong.characters("request_id", request.request_id, limits.REQUEST_ID_CHARACTERS)
    wrong.done()
    wait = to_span(request.wait) if request.HasField("wait") else limits.DEFAULT_WAIT
    return Poll(_worker(request.worker), _asks(request.asks), lease, wait, request.request_id)


def report_outcomes(
    request: pb.ReportOutcomesRequest, now: datetime
) -> tuple[WorkerIdentity, list[EndedAttempt | TocsinError]]:
    """Who reports, and how attempts ended; the refusal of one that cannot be read stands in its place.

    now: the store's, against which the times of further attempts are taken.
    """
    wrong = Violations()
    _check_worker(wrong, "worker", request.worker)
    wrong.count("outcomes", request.outcomes, limits.BATCH_ITEMS, least=1)
    wrong.done()
    return _worker(request.worker), outcomes(request.outcomes, now)


def extend_leases(
    request: pb.ExtendLeasesRequest,
) -> tuple[WorkerIdentity, timedelta, list[tuple[Extension, str] | TocsinError]]:
    """Who extends leases, for how long, and which, each with its job's type."""
    wrong = Violations()
    _check_worker(wrong, "worker", request.worker)
    wrong.count("heartbeats", request.heartbeats, limits.BATCH_ITEMS, least=1)
    lease = _lease(wrong, "lease", request)
    wrong.done()
    beats: list[tuple[Extension, str] | TocsinError] = []
    for beat in request.heartbeats:
        extension = _extension(beat)
        beats.append(_refused("token", _NO_TOKEN) if extension is None else extension)
    return _worker(request.worker), lease, beats


def stream_jobs(request: pb.StreamJobsRequest, now: datetime) -> Heard:
    """What a worker says in one message. now: as in `report_outcomes`."""
    wrong = Violations()
    hello = _hello(wrong, request.hello) if request.HasField("hello") else None
    for name in ("heartbeats", "outcomes", "credits"):
        wrong.count(name, getattr(request, name), limits.BATCH_ITEMS)
    for i, credit in enumerate(request.credits):
        lowest = 0 if credit.type else 1
        if not lowest <= credit.n <= limits.CREDITS:
            wrong.number(f"credits[{i}].n", credit.n, lowest, limits.CREDITS)
    unbegun = request.goodbye.unbegun_tokens
    wrong.count("goodbye.unbegun_tokens", unbegun, limits.HELD_TOKENS)
    if wrong:
        wrong.done()
    beats = [(_extension(beat), beat.token) for beat in request.heartbeats]
    return Heard(
        hello=hello,
        heartbeats=[extension for extension, _ in beats if extension is not None],
        unreadable=[token for extension, token in beats if extension is None],
        outcomes=outcomes(request.outcomes, now),
        credits=[(credit.type, credit.n) for credit in request.credits],
        goodbye=request.HasField("goodbye"),
        unbegun=[read.lease for token in unbegun if (read := read_token(token)) is not None],
    )


def list_workers(request: pb.ListWorkersRequest) -> tuple[str, str, int, str]:
    """Of which queue and type workers are wanted, "" is any; how many, and after which one."""
    wrong = Violations()
    wrong.queue("queue", request.queue)
    wrong.queue("type", request.type)
    check_page_size(wrong, request.page_size)
    wrong.done()
    after = page_tokens.last_worker(request.page_token) if request.page_token else ""
    return request.queue, request.type, page_size(request.page_size), after


# --- who, and what is wanted ---


def _check_worker(wrong: Violations, field: str, worker: pb.Worker) -> None:
    if not worker.name:
        wrong.add(f"{field}.name", "is needed")
    else:
        wrong.characters(f"{field}.name", worker.name, limits.WORKER_NAME_CHARACTERS)
    wrong.version(f"{field}.version", worker.version)
    wrong.characters(f"{field}.language", worker.language, limits.VERSION_CHARACTERS)
    wrong.tags(f"{field}.labels", worker.labels)


def _worker(worker: pb.Worker) -> WorkerIdentity:
    return WorkerIdentity(worker.name, worker.version, worker.language, dict(worker.labels))


def _check_asks(wrong: Violations, field: str, asks: Sequence[pb.LeaseAsk]) -> None:
    if not wrong.count(field, asks, limits.ASKS, least=1):
        return
    seen: set[str] = set()
    for i, ask in enumerate(asks):
        at = f"{field}[{i}]"
        wrong.queue(f"{at}.queue", ask.queue)
        if ask.all_queues and ask.queue:
            wrong.add(f"{at}.queue", "does not go with all_queues: give one of them")
        name = "" if ask.all_queues else queue_of(ask.queue)
        if name in seen:
            wrong.add(at, "is of a queue that another ask names: put its types there")
        seen.add(name)
        if wrong.count(f"{at}.types", ask.types, limits.ASKED_TYPES, least=1):
            for j, type_ in enumerate(ask.types):
                wrong.name(f"{at}.types[{j}]", type_)


def _asks(asks: Iterable[pb.LeaseAsk]) -> tuple[Ask, ...]:
    return tuple(
        Ask(None if ask.all_queues else queue_of(ask.queue), frozenset(ask.types), ask.max_jobs) for ask in asks
    )


def _hello(wrong: Violations, hello: pb.StreamJobsRequest.Hello) -> Hello | None:
    _check_worker(wrong, "hello.worker", hello.worker)
    _check_asks(wrong, "hello.asks", hello.asks)
    lease = _lease(wrong, "hello.lease", hello)
    wrong.count("hello.held_tokens", hello.held_tokens, limits.HELD_TOKENS)
    if wrong:
        return None
    read = [(token, read_token(token)) for token in hello.held_tokens]
    return Hello(
        _worker(hello.worker),
        _asks(hello.asks),
        lease,
        held=tuple(one for _, one in read if one is not None),
        unreadable=tuple(token for token, one in read if one is None),
    )


def _lease(
    wrong: Violations,
    field: str,
    request: pb.LeaseJobsRequest | pb.ExtendLeasesRequest | pb.StreamJobsRequest.Hello,
) -> timedelta:
    """How long leases last."""
    if not request.HasField("lease"):
        return limits.DEFAULT_LEASE
    lease = request.lease
    wrong.span(field, lease, limits.MIN_LEASE, limits.MAX_LEASE, "5 s to 1 h")
    return limits.DEFAULT_LEASE if wrong else to_span(lease)


# --- attempts ---


def outcomes(items: Iterable[pb.Outcome], now: datetime) -> list[EndedAttempt | TocsinError]:
    """How attempts ended; the refusal of one that cannot be read stands in its place."""
    return [_outcome(raw, now) for raw in cast(Iterable[bytes], items)]


def _outcome(raw: bytes, now: datetime) -> EndedAttempt | TocsinError:
    # Most attempts complete and say nothing. Such an outcome is read here at a fifth of the cost.
    if raw.endswith(_COMPLETED) and raw[0] == _TOKEN and raw[1] == len(raw) - 2 - len(_COMPLETED) < _ONE_BYTE:
        read = read_token(raw[2 : -len(_COMPLETED)])
        return (
            _refused("token", _NO_TOKEN) if read is None else EndedAttempt(read.lease, Ending.COMPLETED, type=read.type)
        )
    try:
        outcome = read_message(pb.Outcome, _Outcome, raw)
    except TocsinError as refusal:
        return refusal.with_traceback(None)
    read = read_token(outcome.token)
    if read is None:
        return _refused("token", _NO_TOKEN)
    kind = outcome.WhichOneof("outcome")
    if kind == "completed":
        result = cast(bytes, outcome.completed.result) or None  # it has no presence here, and an empty one says nothing
        if result is not None and not _is_result(result):
            return _refused("completed.result", "is no tocsin.v1.Result: it is broken, or nested too deep")
        return EndedAttempt(read.lease, Ending.COMPLETED, result=result, type=read.type)
    if kind == "failed":
        return _failed(read, outcome.failed, now)
    if kind == "released":
        reason = shorten(outcome.released.reason, limits.ERROR_MESSAGE_BYTES)
        return EndedAttempt(read.lease, Ending.RELEASED, reason=reason, type=read.type)
    return _refused("outcome", "is needed: say completed, failed or released")


def _failed(read: HeldToken, failed: pb.Outcome.Failed, now: datetime) -> EndedAttempt | TocsinError:
    retry_in = None
    if failed.HasField("retry_at"):
        wrong = Violations()
        wrong.time("failed.retry_at", failed.retry_at)
        if failed.final:
            wrong.add("failed.retry_at", "does not go with final: there is no further attempt")
        if wrong:
            return _refusal(wrong)
        retry_in = max(to_time(failed.retry_at) - now, timedelta(0))
    pause = None
    if failed.HasField("pause_limit_until") or failed.pause_limit:
        wrong = Violations()
        wrong.time("failed.pause_limit_until", failed.pause_limit_until)
        if not failed.HasField("pause_limit_until"):
            wrong.add("failed.pause_limit_until", "is needed beside pause_limit: until when it is paused")
        if not is_limit_name(failed.pause_limit):
            wrong.add("failed.pause_limit", "is no name of a limit, which is needed beside pause_limit_until")
        if wrong:
            return _refusal(wrong)
        pause = LimitPause(failed.pause_limit, to_time(failed.pause_limit_until) - now)
    return EndedAttempt(
        read.lease,
        Ending.FAILED,
        error=JobError(failed.type or _NO_ERROR, failed.message, failed.trace),
        retryable=not failed.final,
        retry_in=retry_in,
        pause=pause,
        type=read.type,
    )


def _is_result(raw: bytes) -> bool:
    try:
        job_pb2.Result.FromString(raw)
    except DecodeError:
        return False
    return True


def _extension(beat: pb.Heartbeat) -> tuple[Extension, str] | None:
    read = read_token(beat.token)
    if read is None:
        return None
    progress = None
    if beat.HasField("progress"):
        fraction = beat.progress.fraction
        fraction = 0.0 if math.isnan(fraction) else min(max(fraction, 0.0), 1.0)
        progress = fraction, shorten(beat.progress.message, limits.PROGRESS_MESSAGE_BYTES)
    log = tuple(
        LogLine(line.level if line.level in _LEVELS else _INFO, line.text)
        for line in beat.log[: limits.HEARTBEAT_LINES]
    )
    return Extension(read.lease, progress, log), read.type


def _refused(field: str, description: str) -> InvalidFields:
    return InvalidFields([Violation(field, description)])


def _refusal(wrong: Violations) -> InvalidFields:
    try:
        wrong.done()
    except InvalidFields as refusal:
        return refusal.with_traceback(None)
    raise AssertionError("nothing is wrong")
