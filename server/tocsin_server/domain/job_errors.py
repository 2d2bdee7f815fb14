"""Refusals about one job. The tree of all refusals is drawn in errors.py."""

from __future__ import annotations

from tocsin_server.domain.errors import TocsinError
from tocsin_server.domain.states import State


class _OfJob(TocsinError):
    """A refusal about one job."""

    def __init__(self, message: str, queue: str, job_id: str, state: State | None = None) -> None:
        self.queue, self.job_id, self.state = queue, job_id, state
        super().__init__(message)

    @property
    def metadata(self) -> dict[str, str]:
        state = {"state": self.state.name} if self.state is not None else {}
        return {"queue": self.queue, "job_id": self.job_id, **state}


class JobNotFound(_OfJob):
    """No job of that id stands in that queue."""

    reason = "JOB_NOT_FOUND"

    def __init__(self, queue: str, job_id: str) -> None:
        super().__init__(
            f"no job {job_id!r} stands in queue {queue!r}. Check both names; an ended job is gone after its retention.",
            queue,
            job_id,
        )


class ParentNotFound(JobNotFound):
    """A job is to wait for one that does not stand."""

    def __init__(self, queue: str, job_id: str, place: int) -> None:
        super().__init__(queue, job_id)
        self.args = (
            f"job.depends_on.parents[{place}]: no job {job_id!r} stands in queue {queue!r}, and only those that "
            "stand can be waited for; nothing was changed. Schedule that one first; it may have been trimmed.",
        )


class ParentRefused(TocsinError):
    """An item of a batch is to wait for one that was refused."""

    reason = "PARENT_REFUSED"
    facts = ("item",)

    def __init__(self, field: str, item: int) -> None:
        self.field, self.item = field, item
        super().__init__(f"{field}: item {item} of the batch was refused, and so is what was to wait for it.")


class JobExists(_OfJob):
    """The id stands already."""

    reason = "JOB_EXISTS"

    def __init__(self, queue: str, job_id: str, state: State) -> None:
        super().__init__(
            f"job {job_id!r} stands already in queue {queue!r} and is {state.name}; nothing was changed. "
            "Use on_conflict KEEP to leave it, or REPLACE to put this one in its place.",
            queue,
            job_id,
            state,
        )


class ReminderIdTaken(JobExists):
    """A job that is no reminder bears a reminder's id."""

    def __init__(self, queue: str, job_id: str, state: State) -> None:
        super().__init__(queue, job_id, state)
        self.args = (
            f"job {job_id!r} in queue {queue!r} is no reminder of this set, but bears the id of one, which is not sent "
            "for that. Delete that job, or schedule it under another id, and repeat the call.",
        )


class JobActive(_OfJob):
    """It runs, and that cannot be done to a running job."""

    reason = "JOB_ACTIVE"

    def __init__(self, queue: str, job_id: str) -> None:
        super().__init__(
            f"job {job_id!r} in queue {queue!r} runs; nothing was changed. Cancel it, or wait until it has ended.",
            queue,
            job_id,
            State.ACTIVE,
        )


class WrongState(_OfJob):
    """Its state forbids it."""

    reason = "WRONG_STATE"

    def __init__(self, queue: str, job_id: str, state: State, verb: str) -> None:
        self.verb = verb
        super().__init__(
            f"job {job_id!r} in queue {queue!r} is {state.name}, and {verb} does not apply; nothing was changed. "
            f"{_instead(verb, state)}",
            queue,
            job_id,
            state,
        )


class IsWaitedFor(WrongState):
    """Others name it by queue and id."""

    def __init__(self, queue: str, job_id: str, state: State) -> None:
        super().__init__(queue, job_id, state, "BulkAct.move")
        self.args = (
            f"job {job_id!r} in queue {queue!r} is left where it is: others wait for its end, or follow it, and "
            "know it by its queue and id.",
        )


_ANEW = "Schedule it anew, with on_conflict REPLACE."
_INSTEAD: dict[str, dict[State, str]] = {
    "RunJob": {State.BLOCKED: "It runs once the jobs that it waits for have ended.", State.COMPLETED: _ANEW},
    "RetryJob": {State.BLOCKED: "It runs once the jobs that it waits for have ended.", State.COMPLETED: _ANEW},
    "HoldJob": {State.ACTIVE: "It runs: cancel it, or hold it once it is to be tried again."},
    "UpdateJob": {State.ACTIVE: "Wait for its end, or cancel it and schedule another."},
    "CancelJob": {},
    "DeleteJob": {},
}
_ELSE = {
    "RunJob": "RetryJob makes it due again.",
    "RetryJob": "RunJob runs it before its time.",
    "HoldJob": "It has ended: no attempt will begin.",
    "ReleaseJob": "It has ended: RetryJob makes it due again.",
    "UpdateJob": _ANEW,
    "CancelJob": "It has ended: there is nothing left to cancel.",
    "DeleteJob": "Cancel it first, and delete it once it has ended.",
}


def _instead(verb: str, state: State) -> str:
    """What to do instead."""
    return _INSTEAD.get(verb, {}).get(state) or _ELSE.get(verb, "Look at it with GetJob.")


class LeaseLost(_OfJob):
    """The attempt's lease had ended; its result was not recorded."""

    reason = "LEASE_LOST"

    def __init__(self, queue: str, job_id: str, attempt: int) -> None:
        self.attempt = attempt
        super().__init__(
            f"job {job_id!r}: attempt {attempt} lost its lease, its result was not recorded. "
            "Drop it: the job runs again, or has run, under a newer lease.",
            queue,
            job_id,
        )


class EndedOtherwise(LeaseLost):
    """The attempt's end was recorded before, and it was another one."""

    def __init__(self, queue: str, job_id: str, attempt: int) -> None:
        super().__init__(queue, job_id, attempt)
        self.args = (
            f"job {job_id!r}: attempt {attempt} was recorded before as ended another way, and that stands. "
            "An attempt ends once: report one outcome of it.",
        )


class RevisionMismatch(_OfJob):
    """It has changed since the revision given."""

    reason = "REVISION_MISMATCH"

    def __init__(self, queue: str, job_id: str, expected: int, found: int) -> None:
        super().__init__(
            f"job {job_id!r} in queue {queue!r} has revision {found}, not {expected}; nothing was changed. "
            "Read it again and decide anew.",
            queue,
            job_id,
        )
        self.expected, self.found = expected, found
