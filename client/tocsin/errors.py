"""What a call may raise, with the gRPC status, the server's reason and all details.

TocsinError
├── InvalidArgument       fields are wrong: `violations` names each; also raised before anything is sent
│   └── WrongType         an argument of the wrong type, or one that the call does not take; a TypeError too
├── NotFound              no such job, or reminder set, stands
├── AlreadyExists         a job of this id stands already, in `state`
├── FailedPrecondition    the job's `state` forbids it
├── Aborted               the job has changed since the revision given
├── ResourceExhausted     a quota or a size limit; `retry_after` where waiting helps
├── Unavailable           server or store away; `outcome_unknown`: the call may have acted
├── DeadlineExceeded      no answer in time; `outcome_unknown` likewise
├── Unauthenticated       no or wrong credentials
├── PermissionDenied      these credentials may not do this
├── ServerError           a fault of the server, or something that it does not have
├── UnusableClient        this client is closed, or of another event loop, or was in use before a fork
└── WaitTimeout           `wait` gave up; the job goes on

Everything but `outcome_unknown` and WaitTimeout says that nothing was changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

import grpc

from tocsin.enums import State

if TYPE_CHECKING:
    from tocsin.jobs import Job


@dataclass(frozen=True, slots=True)
class Violation:
    """One wrong field: its path as typed ("job.retry.max_attempts"), and what is wrong with it."""

    field: str
    description: str


class TocsinError(Exception):
    """The root of all that a call may raise.

    `status` is the gRPC status, `reason` the name in tocsin.v1.ErrorReason ("" where no server answered), `message`
    says what to do, `metadata` has facts for programs, `retry_after` how long to wait before a repeat helps.
    """

    default_status = grpc.StatusCode.UNKNOWN

    def __init__(
        self,
        message: str,
        *,
        status: grpc.StatusCode | None = None,
        reason: str = "",
        metadata: Mapping[str, str] | None = None,
        retry_after: timedelta | None = None,
        violations: tuple[Violation, ...] = (),
        never_sent: bool = False,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status = status or self.default_status
        self.reason = reason
        self.metadata: Mapping[str, str] = dict(metadata or {})
        self.retry_after = retry_after
        self.violations = violations
        #: No connection could be made, so the server never saw the call.
        self.never_sent = never_sent

    @property
    def outcome_unknown(self) -> bool:
        """The call may have acted. To be sure, repeat it with the same job_id and on_conflict="KEEP"."""
        return False


class InvalidArgument(TocsinError, ValueError):
    """Fields of the request are wrong; `violations` names each."""

    default_status = grpc.StatusCode.INVALID_ARGUMENT

    @classmethod
    def of(cls, field: str, description: str) -> InvalidArgument:
        """The error about one field, found before anything was sent."""
        violation = Violation(field, description)
        return cls(f"{field}: {description}", reason="INVALID_FIELD", violations=(violation,))


class WrongType(InvalidArgument, TypeError):
    """An argument of the wrong type, or one that the call does not take; nothing was sent."""


class NotFound(TocsinError):
    """No such job stands: it never did, or was deleted, or trimmed after its retention. Or no such reminder set."""

    default_status = grpc.StatusCode.NOT_FOUND


class _StandingJobError(TocsinError):
    """A refusal because of the state in which a job stands."""

    @property
    def state(self) -> State | None:
        """The state of the standing job, None where the server did not say."""
        name = self.metadata.get("state", "")
        return State(name) if name in State.__members__ else None


class AlreadyExists(_StandingJobError):
    """A job of this id stands already, in `state`. on_conflict="KEEP" or "REPLACE" says what to do then."""

    default_status = grpc.StatusCode.ALREADY_EXISTS


class FailedPrecondition(_StandingJobError):
    """The job's `state` forbids it (reason JOB_ACTIVE or WRONG_STATE), its queue was moved (QUEUE_MOVED), or jobs stand
    in the queue (QUEUE_IN_USE), or the store keeps real time (CLOCK_NOT_MANUAL)."""

    default_status = grpc.StatusCode.FAILED_PRECONDITION


class Aborted(TocsinError):
    """The job has changed since the revision given: read it again."""

    default_status = grpc.StatusCode.ABORTED


class ResourceExhausted(TocsinError):
    """A quota or a size limit; `retry_after` is set where waiting helps."""

    default_status = grpc.StatusCode.RESOURCE_EXHAUSTED


class Unavailable(TocsinError):
    """The server, or its store, is away."""

    default_status = grpc.StatusCode.UNAVAILABLE

    @property
    def outcome_unknown(self) -> bool:
        return self.reason == "OUTCOME_UNKNOWN" or (not self.reason and not self.never_sent)


class DeadlineExceeded(TocsinError, TimeoutError):
    """No answer came within the call's deadline."""

    default_status = grpc.StatusCode.DEADLINE_EXCEEDED

    @property
    def outcome_unknown(self) -> bool:
        return self.reason != "DEADLINE_PASSED" and not self.never_sent


class Unauthenticated(TocsinError):
    """No or wrong credentials."""

    default_status = grpc.StatusCode.UNAUTHENTICATED


class PermissionDenied(TocsinError):
    """These credentials may not do this."""

    default_status = grpc.StatusCode.PERMISSION_DENIED


class ServerError(TocsinError):
    """A fault of the server (metadata `error_id` is in its log), or a method that it does not have."""

    default_status = grpc.StatusCode.INTERNAL

    @property
    def outcome_unknown(self) -> bool:
        return self.status is not grpc.StatusCode.UNIMPLEMENTED


class UnusableClient(TocsinError, RuntimeError):
    """This client is closed, belongs to another event loop, or its process was forked in a way that gRPC does not
    survive; nothing was sent."""

    default_status = grpc.StatusCode.FAILED_PRECONDITION


class WaitTimeout(TocsinError, TimeoutError):
    """`wait` gave up before the job ended; the job goes on. `job` is how it was last seen, None if never."""

    default_status = grpc.StatusCode.DEADLINE_EXCEEDED

    def __init__(self, message: str, job: Job | None = None) -> None:
        super().__init__(message)
        self.job = job


ERRORS: Mapping[grpc.StatusCode, type[TocsinError]] = {
    error.default_status: error
    for error in (
        InvalidArgument,
        NotFound,
        AlreadyExists,
        FailedPrecondition,
        Aborted,
        ResourceExhausted,
        Unavailable,
        DeadlineExceeded,
        Unauthenticated,
        PermissionDenied,
        ServerError,
    )
}
