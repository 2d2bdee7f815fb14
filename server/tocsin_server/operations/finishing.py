"""Records how attempts ended, and decides what follows a failure."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta

import structlog

from tocsin_server.domain import limits
from tocsin_server.domain.errors import OutcomeUnknown, StoreAway, StoreFull, TocsinError
from tocsin_server.domain.job import Job, JobError, View
from tocsin_server.domain.job_errors import EndedOtherwise, LeaseLost
from tocsin_server.domain.lease import (
    AttemptOutcome,
    Ending,
    Extended,
    Extension,
    Finished,
    Lease,
    LimitPause,
    contradicts,
)
from tocsin_server.domain.record import record
from tocsin_server.domain.retry import RetryPolicy
from tocsin_server.operations.retry_pause import retry_pause
from tocsin_server.store.batching import by_queue
from tocsin_server.store.interface import JobStore
from tocsin_server.telemetry import job_log
from tocsin_server.telemetry.metrics import Metrics

_log: structlog.typing.FilteringBoundLogger = structlog.get_logger()

_LONGEST_PAUSE = timedelta(seconds=1)

#: Of outcomes that wait it is told once in so many tries, about a minute.
_SAY_AGAIN = 60

_ANY_RETRY = RetryPolicy()

#: Passes by itself, so no fault of ours.
STORE_TROUBLE = (StoreAway, StoreFull, OutcomeUnknown)


@record
class EndedAttempt:
    """How an attempt ended, in its runner's words, with what of the job is needed to decide what follows."""

    lease: Lease
    ending: Ending
    retry: RetryPolicy | None = None  # of the job; None: whoever ran it knows no more of it than the lease
    failures: int = 0  # of the job, before this attempt; where `retry` is known
    result: bytes | None = None  # COMPLETED
    error: JobError | None = None  # FAILED, CRASHED
    retryable: bool = True  # FAILED: False ends the job, whatever attempts are left
    retry_in: timedelta | None = None  # FAILED: the handler's own wish for the wait; None: the policy's
    pause: LimitPause | None = None  # FAILED: a limit that is to let nothing begin meanwhile
    reason: str = ""  # RELEASED: why; for the log, as what follows
    type: str = ""  # of the job
    took: float = 0.0  # seconds since it was leased


def outcome_of(ended: EndedAttempt) -> AttemptOutcome:
    """What the store is to record. `retry` must be known of a failure.

    A failure is tried again while attempts are left and it is `retryable`, after the handler's own wish or the policy's
    wait, at most 30 days; a limit is paused for as long at most. Texts longer than their limits are cut. A result
    longer than its limit cannot be cut: the attempt counts as failed, and is not tried again, for its work was done.
    """
    if ended.ending is Ending.COMPLETED and ended.result is not None and len(ended.result) > limits.RESULT_BYTES:
        message = (
            f"the handler ran to its end and returned {len(ended.result):,} bytes; at most {limits.RESULT_BYTES:,} "
            "are kept. Store the result elsewhere and return its address."
        )
        return AttemptOutcome(ended.lease, Ending.FAILED, error=JobError("RESULT_TOO_LARGE", message))
    error = None if ended.error is None else _shortened(ended.error)
    if ended.ending is Ending.FAILED:
        return AttemptOutcome(ended.lease, ended.ending, error=error, retry_in=_retry_in(ended), pause=_pause(ended))
    return AttemptOutcome(ended.lease, ended.ending, result=ended.result, error=error)


def _retry_in(ended: EndedAttempt) -> timedelta | None:
    wait = None if ended.retry is None else ended.retry.delay_after(ended.failures + 1)
    if wait is None or not ended.retryable:
        return None
    if ended.retry_in is not None:
        wait = ended.retry_in
    return min(max(wait, timedelta(0)), limits.MAX_BACKOFF)


def _pause(ended: EndedAttempt) -> LimitPause | None:
    if ended.pause is None:
        return None
    return replace(ended.pause, span=min(max(ended.pause.span, timedelta(0)), limits.MAX_RATE_SPAN))


def _shortened(error: JobError) -> JobError:
    return JobError(
        shorten(error.type, limits.ERROR_TYPE_BYTES),
        shorten(error.message, limits.ERROR_MESSAGE_BYTES),
        shorten(error.trace, limits.ERROR_TRACE_BYTES, keep_end=True),  # the last lines tell most
    )


def shorten(text: str, most: int, *, keep_end: bool = False) -> str:
    """The text in at most `most` bytes of UTF-8, with "..." where something was cut off its end, or its beginning.

    Lone surrogates, as file names in messages may have, become question marks: they have no UTF-8.
    """
    whole = text.encode("utf-8", "replace")
    if len(whole) <= most:
        return whole.decode("utf-8")
    cut = b"..." + whole[len(whole) + 3 - most :] if keep_end else whole[: most - 3] + b"..."
    return cut.decode("utf-8", "ignore")


class Finishing:
    """Records outcomes. `finish` and `give_back` repeat each until it is recorded or its lease is lost, whatever stands
    in the way: a store that is away or takes no writes, or a fault. That is safe, as each is fenced by its lease's
    token. A store that is away takes no lease back either, so an outcome is worth keeping far beyond the lease's end.

    metrics: counts what was recorded; None: nobody wants to know.
    """

    def __init__(self, store: JobStore, metrics: Metrics | None = None) -> None:
        self._store = store
        self._metrics = metrics

    async def finish(self, ended: Sequence[EndedAttempt]) -> list[bool]:
        """Whether each was recorded, in order; False where the lease was lost. Takes as long as it takes.

        Of failures whose policy the caller does not know, it is read from the store, in one call a queue. What is
        known is recorded meanwhile: queues may stand on different servers, and one that is away holds up no other.
        """
        return await by_queue(ended, lambda one: one.lease.queue if _undecided(one) else "", self._finish)

    async def _finish(self, undecided: str, ended: Sequence[EndedAttempt]) -> list[bool]:
        """undecided: the queue whose jobs' policies are to be read; "": all are known."""
        known = await self._with_policies(undecided, ended) if undecided else ended
        outcomes = [outcome_of(one) for one in known]

        def tell(at: int, recorded: Finished) -> None:
            self._tell(known[at], outcomes[at], recorded)

        return await self._record(outcomes, tell)

    async def report(self, ended: Sequence[EndedAttempt]) -> list[Finished | TocsinError]:
        """Record outcomes of one queue once: for callers who repeat by themselves. LeaseLost also where the attempt is
        known to have ended another way. Raises what the store raises: StoreAway, OutcomeUnknown, StoreFull.

        Which of two endings was recorded first is seen by the job's state, so FAILED and RELEASED are told apart only
        where that failure ended the job, or has it wait.
        """
        unknown = [at for at, one in enumerate(ended) if _undecided(one)]
        if unknown:
            queue, known = ended[0].lease.queue, list(ended)
            jobs = await self._store.get(queue, [ended[at].lease.job_id for at in unknown], View.BASIC)
            for at, job in zip(unknown, jobs, strict=True):
                known[at] = _with_policy(ended[at], job)
            ended = known
        outcomes = [outcome_of(one) for one in ended]
        answers = await self._store.finish(outcomes)
        for at, answer in enumerate(answers):
            if not isinstance(answer, Finished):
                continue
            outcome = outcomes[at]
            if not answer.repeated:
                self._tell(ended[at], outcome, answer)
            elif contradicts(outcome.ending, answer.state):
                lease = outcome.lease
                answers[at] = EndedOtherwise(lease.queue, lease.job_id, lease.attempt)
        return answers

    async def give_back(self, leases: Sequence[Lease]) -> None:
        """Let go of leases whose attempts never began: their jobs are WAITING again, nothing counted."""
        await self._record([AttemptOutcome(lease, Ending.RELEASED) for lease in leases], lambda _at, _recorded: None)

    async def leave(self, lease: Lease, span: timedelta) -> bool:
        """Let a lease end `span` from now, for its attempt goes on elsewhere. False: it is no more. Repeats as `finish`
        does."""
        failures = 0
        while True:
            try:
                [answer] = await self._store.extend([Extension(lease)], span)
            except TocsinError as error:
                answer = error
            if isinstance(answer, Extended | LeaseLost):
                return isinstance(answer, Extended)
            if failures % _SAY_AGAIN == 0:
                _log.warning("lease_not_left", **_names(lease), error=str(answer))
            failures += 1
            await asyncio.sleep(retry_pause(failures, _LONGEST_PAUSE))

    def _tell(self, one: EndedAttempt, outcome: AttemptOutcome, recorded: Finished) -> None:
        if self._metrics is not None:
            self._metrics.ended(one.lease.queue, one.type, outcome.ending, one.took)
        retry = one.retry or _ANY_RETRY
        job_log.ended(one.type, retry, one.failures, outcome, recorded, took=one.took, reason=one.reason)

    async def _with_policies(self, queue: str, ended: Sequence[EndedAttempt]) -> Sequence[EndedAttempt]:
        failures = 0
        while True:
            try:
                jobs = await self._store.get(queue, [one.lease.job_id for one in ended], View.BASIC)
                return [_with_policy(one, job) for one, job in zip(ended, jobs, strict=True)]
            except Exception as error:
                if failures % _SAY_AGAIN == 0:
                    if isinstance(error, STORE_TROUBLE):
                        _log.warning("outcomes_wait", outcomes=len(ended), error=str(error))
                    else:
                        _log.exception("policies_not_read")
            failures += 1
            await asyncio.sleep(retry_pause(failures, _LONGEST_PAUSE))

    async def _record(self, outcomes: Sequence[AttemptOutcome], tell: Callable[[int, Finished], None]) -> list[bool]:
        """Decided outcomes are repeated as they are, so that a repeat never draws another wait."""
        recorded = [False] * len(outcomes)
        left = list(range(len(outcomes)))
        failures, refused = 0, set[int]()
        while True:
            answers = await self._try([outcomes[at] for at in left])
            again: list[int] = []
            for at, answer in zip(left, answers, strict=True):
                if isinstance(answer, Finished):
                    recorded[at] = True
                    tell(at, answer)
                elif not isinstance(answer, LeaseLost):
                    again.append(at)
                    if not isinstance(answer, STORE_TROUBLE) and at not in refused:
                        refused.add(at)
                        _log.error("outcome_refused", **_names(outcomes[at].lease), exc_info=answer)
            left = again
            if not left:
                return recorded
            if failures % _SAY_AGAIN == 0:
                _log.warning("outcomes_wait", outcomes=len(left), error=str(answers[-1]))
            failures += 1
            await asyncio.sleep(retry_pause(failures, _LONGEST_PAUSE))

    async def _try(self, outcomes: Sequence[AttemptOutcome]) -> Sequence[Finished | Exception]:
        try:
            return await self._store.finish(outcomes)
        except TocsinError as error:
            return [error] * len(outcomes)
        except Exception as error:
            if len(outcomes) == 1:
                return [error]
            # One that the store cannot take must not keep its neighbours from being recorded.
            return [answer for one in outcomes for answer in await self._try([one])]


def _undecided(ended: EndedAttempt) -> bool:
    return ended.retry is None and ended.ending is Ending.FAILED


def _with_policy(ended: EndedAttempt, job: Job | None) -> EndedAttempt:
    if job is None:  # it is gone, as the lease is
        return ended
    return replace(ended, retry=job.spec.terms.retry, failures=job.failures, type=job.spec.type)


def _names(lease: Lease) -> dict[str, str | int]:
    return {"queue": lease.queue, "job_id": lease.job_id, "attempt": lease.attempt}
