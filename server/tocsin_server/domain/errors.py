"""Every refusal: what happened, what was changed, what to do next.

TocsinError
├── InvalidFields       a request's fields are wrong, all of them named
│   └── TooManyTimes    a schedule has more times in a span than one call makes up for
├── TooLarge            something is larger than a limit allows
│
│   about one job: job_errors.py
├── JobNotFound         no such job stands
│   └── ParentNotFound  a job is to wait for one that does not stand
├── ParentRefused       an item of a batch is to wait for one that was refused
├── JobExists           the id stands already
│   └── ReminderIdTaken a job that is no reminder bears a reminder's id
├── JobActive           it runs, and that cannot be done to a running job
├── WrongState          its state forbids it
│   └── IsWaitedFor     others wait for its end, by its queue and id
├── LeaseLost           the attempt's lease had ended
│   └── EndedOtherwise  its end was recorded before, and it was another one
├── RevisionMismatch    it has changed since
│
│   about one schedule or calendar: schedules/errors.py
├── ScheduleNotFound    no such schedule stands
├── ScheduleExists      the id stands already
├── ScheduleChanged     it has changed since
├── CalendarNotFound    no such calendar stands
├── CalendarChanged     it has changed since
├── CalendarInUse       schedules name the calendar that was to be deleted
│
├── BulkTokenStale      a queue forgot what changed since a dry run (bulk_actions.py)
├── SharedLimitNotFound  no such shared limit stands (shared_limits.py)
├── RemindersNotFound   there is no such reminder set
├── QueueMoved          a queue moves to another store, or has
├── QueueDraining       the queue takes no new jobs
├── QueueInUse          jobs or schedules stand in the queue that was to be deleted
│   └── QueueShares     it is in shared limits (shared_limits.py)
├── ClockNotManual      the store's clock is not moved by hand
├── CannotDecrypt       what stands encrypted cannot be opened
│   └── KeyMissing      its key is not in the ring
├── QuotaExceeded       a quota is used up
├── TooManyCalls        too many calls of this kind are open
│   ├── TooManyQueuesWatched  no more queues can be watched at once
│   ├── TooManyBytes    the requests under way are too large together
│   └── TooManyRequests the client calls too often
├── AuditAway           the audit log takes no lines
├── StoreFull           the store has no room
├── StoreAway           the store cannot be reached, nothing was sent
├── OutcomeUnknown      the store was asked and did not answer: the call may have acted
│   ├── DeadlineOutcomeUnknown  the caller's deadline passed before it did
│   └── ImportCut       an import ended early, and had taken records by then
├── NotAuthenticated    nobody is known by what the call shows
├── NotAllowed          who calls may not do that
│
├── Draining            the server is shutting down
│   └── WatchAged       a watch stood for its longest time
├── DeadlinePassed      the caller's deadline passed before anything was sent
│   ├── ReadTooSlow     it passed while the store was read
│   └── TransferIdle    an export's or import's caller did nothing for too long
│       └── RequestLate a call was begun, and its request did not come
├── NotBuilt            this version does not have it
└── Internal            a fault of the server

`api/errors.py` is the only place that knows the gRPC status of each.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import ClassVar

from tocsin_server.domain.record import record
from tocsin_server.domain.words import counted


class TocsinError(Exception):
    """The root of all refusals. `reason` is the name in tocsin.v1.ErrorReason; `metadata` goes into ErrorInfo."""

    reason: ClassVar[str]
    facts: ClassVar[tuple[str, ...]] = ()  # attributes that are metadata
    retry_after: timedelta | None = None  # where waiting helps: for so long

    @property
    def metadata(self) -> dict[str, str]:
        """Facts for programs, beside the sentence for people."""
        return {name: str(getattr(self, name)) for name in self.facts}


@record
class Violation:
    """One wrong field: its path as typed ("job.retry.max_attempts"), and what is wrong with it."""

    field: str
    description: str


class InvalidFields(TocsinError):
    """Fields of a request are wrong; nothing was changed."""

    reason = "INVALID_FIELD"

    def __init__(self, violations: Sequence[Violation]) -> None:
        self.violations = tuple(violations)
        super().__init__("; ".join(f"{v.field}: {v.description}" for v in self.violations))


class TooLarge(TocsinError):
    """Something is larger than a limit allows; nothing was changed."""

    reason = "TOO_LARGE"
    facts = ("field", "size", "limit")

    def __init__(self, field: str, size: int, limit: int) -> None:
        self.field, self.size, self.limit = field, size, limit
        super().__init__(
            f"{field}: {size:,} bytes, and at most {limit:,} are allowed. "
            "Send less, or keep the data elsewhere and send its address."
        )


class RemindersNotFound(TocsinError):
    """There is no reminder set of that booking or payment."""

    reason = "REMINDERS_NOT_FOUND"

    def __init__(self, queue: str, kind: str, set_id: str) -> None:
        self.queue, self.kind, self.set_id = queue, kind, set_id
        super().__init__(
            f"there is no reminder set of {kind} {set_id!r} in queue {queue!r}. "
            "Check the names; a set is forgotten 31 days after its last reminder."
        )

    @property
    def metadata(self) -> dict[str, str]:
        return {"queue": self.queue, "kind": self.kind, "id": self.set_id}


class QueueMoved(TocsinError):
    """The queue is paused because it moves to another store, has moved there, or comes from one."""

    reason = "QUEUE_MOVED"
    facts = ("queue", "move")

    def __init__(self, queue: str, move: str, *, done: bool) -> None:
        self.queue, self.move = queue, move
        what = (
            "That move is done: its jobs run there, and those that stand here are copies, which would run a second "
            "time. Call a server of that side."
            if done
            else "Run `tocsin migrate` again to end that move."
        )
        super().__init__(
            f"queue {queue!r} is paused for a move ({move}); nothing was changed. {what} "
            "Where it is to be this side's again: take_back (`tocsin queues resume --take-back`)."
        )


class QueueDraining(TocsinError):
    """The queue takes no new jobs: it is to end those that it has."""

    reason = "QUEUE_DRAINING"
    facts = ("queue",)

    def __init__(self, queue: str) -> None:
        self.queue = queue
        super().__init__(
            f"queue {queue!r} is draining: it ends the jobs that it has, and takes no new ones; nothing was changed. "
            "Schedule the job in another queue, or end the draining with ResumeQueue."
        )


class QueueInUse(TocsinError):
    """Jobs or schedules stand in the queue, so it is not deleted. `schedules`: ids of some."""

    reason = "QUEUE_IN_USE"
    facts = ("queue", "jobs")

    def __init__(self, queue: str, jobs: int, schedules: Sequence[str] = ()) -> None:
        self.queue, self.jobs = queue, jobs
        if not jobs:
            named = ", ".join(map(repr, schedules))
            super().__init__(
                f"no job stands in queue {queue!r}, but schedules do ({named}); nothing was changed. Delete them with "
                "DeleteSchedule, and repeat."
            )
            return
        super().__init__(
            f"{counted(jobs, 'job stands', 'jobs stand')} in queue {queue!r}; nothing was changed. Let them end or "
            "cancel them, delete them with PurgeJobs (or wait for their retention), and repeat."
        )


class ClockNotManual(TocsinError):
    """The store keeps the time of its server; nothing was moved."""

    reason = "CLOCK_NOT_MANUAL"

    def __init__(self) -> None:
        super().__init__(
            "this store keeps real time, and always will: its clock cannot be moved. Test with a store of its own that "
            "is made for it: `tocsin dev --clock manual --data FOLDER`, with a new folder."
        )


class CannotDecrypt(TocsinError):
    """What stands encrypted in the store cannot be opened; nothing of it is shown, and nothing was changed.

    `name` is the id of the job, note or schedule that it belongs to, `field` which part of it it is.
    """

    reason = "CANNOT_DECRYPT"
    facts: ClassVar[tuple[str, ...]] = ("queue", "name", "field")

    def __init__(self, queue: str, name: str, field: str, why: str) -> None:
        self.queue, self.name, self.field, self.why = queue, name, field, why
        super().__init__(f"{field} of {name!r} in queue {queue!r} cannot be decrypted: {why}")


class KeyMissing(CannotDecrypt):
    """The key that it was encrypted with is not in this server's ring."""

    facts = ("queue", "name", "field", "key_id")

    def __init__(self, queue: str, name: str, field: str, key_id: str) -> None:
        self.key_id = key_id
        super().__init__(
            queue,
            name,
            field,
            f"key {key_id} is not in this server's key ring. Put that key back into the file (docs/encryption.md).",
        )


class QuotaExceeded(TocsinError):
    """A quota is used up; nothing was changed."""

    reason = "QUOTA_EXCEEDED"
    facts = ("quota", "limit")

    def __init__(self, quota: str, limit: int, advice: str) -> None:
        self.quota, self.limit = quota, limit
        super().__init__(f"{quota}: the limit of {limit:,} is reached; nothing was changed. {advice}")


class TooManyCalls(TocsinError):
    """Too many calls of this kind are open."""

    reason = "TOO_MANY_CALLS"
    retry_after = timedelta(seconds=1)

    def __init__(self, kind: str, limit: int, *, of_client: bool = False) -> None:
        whose = "of this client are open, the limit of one" if of_client else "are open on this server, its limit"
        super().__init__(f"{limit:,} {kind} calls {whose}; close some, or wait.")


class TooManyQueuesWatched(TooManyCalls):
    """No more queues can be watched at once."""

    def __init__(self, limit: int) -> None:
        TocsinError.__init__(
            self, f"{limit:,} queues are watched through this server, its limit; end some watches, or watch elsewhere."
        )


class TooManyBytes(TooManyCalls):
    """The requests under way are too large together; nothing was done for this one."""

    def __init__(self, limit: int, *, of_client: bool = False) -> None:
        whose = "one client may have" if of_client else "this server allows"
        TocsinError.__init__(
            self,
            f"with this one the requests under way would have more than the {limit:,} bytes that {whose}; "
            "nothing was done for it. Repeat it in a moment, or send smaller ones.",
        )


class TooManyRequests(TooManyCalls):
    """The client makes more calls a second than one may; nothing was done for this one."""

    def __init__(self, a_second: float, retry_after: timedelta) -> None:
        self.retry_after = retry_after
        TocsinError.__init__(
            self,
            f"this client makes more than the {a_second:g} calls a second that one may make; nothing was done for this "
            f"one. Repeat it in {retry_after.total_seconds():.3f} s, or make fewer: batches hold 1,000 jobs.",
        )


class AuditAway(TocsinError):
    """The audit log takes no lines, and nothing may be done without one; nothing was done."""

    reason = "AUDIT_AWAY"
    retry_after = timedelta(seconds=5)

    def __init__(self) -> None:
        super().__init__(
            "the server's audit log cannot be written, and nothing is done without a line in it; nothing was changed. "
            "Make room where it is written (audit.to), then repeat the call."
        )


class StoreFull(TocsinError):
    """The store has no room left for writes; nothing was changed."""

    reason = "STORE_FULL"
    retry_after = timedelta(seconds=10)

    def __init__(self, detail: str) -> None:
        self.detail = detail
        super().__init__(f"the store has no room for this; nothing was changed. Make room, or wait. ({detail})")


class StoreAway(TocsinError):
    """The store cannot be reached; nothing was sent to it."""

    reason = "STORE_AWAY"
    retry_after = timedelta(seconds=1)

    def __init__(self, detail: str) -> None:
        self.detail = detail
        super().__init__(f"the store cannot be reached; nothing was sent to it. Repeat the call. ({detail})")


class OutcomeUnknown(TocsinError):
    """The store was asked and its answer did not come."""

    reason = "OUTCOME_UNKNOWN"
    retry_after = timedelta(seconds=1)

    def __init__(self, detail: str) -> None:
        self.detail = detail
        super().__init__(
            "the store was asked and its answer did not come: the call may have acted. "
            f"Repeat it with the same job_id and on_conflict KEEP, or read what stands. ({detail})"
        )


class DeadlineOutcomeUnknown(OutcomeUnknown):
    """The deadline passed while the store was asked: the call may have acted."""

    def __init__(self) -> None:
        super().__init__("the deadline passed")


class ImportCut(OutcomeUnknown):
    """An import ended early, and had taken records by then. `taken`: those it knows of."""

    def __init__(self, taken: int, why: TocsinError) -> None:
        # The words of others say that nothing was changed.
        words = str(why) if isinstance(why, InvalidFields | TooLarge) else why.reason
        TocsinError.__init__(
            self,
            f"the import ended early, and {counted(taken, 'record')} or more had been taken: make it again with KEEP, "
            f"which leaves those as they are and takes the rest. ({words})",
        )


class NotAuthenticated(TocsinError):
    """Nobody is known by what the call shows; nothing was done."""

    reason = "UNAUTHENTICATED"


class NotAllowed(TocsinError):
    """Who calls may not do that; nothing was done."""

    reason = "PERMISSION_DENIED"

    def __init__(self, message: str, *, scope: str = "", queue: str = "") -> None:
        """scope: which one it takes; queue: which one is out of reach."""
        self.scope, self.queue = scope, queue
        super().__init__(message)

    @property
    def metadata(self) -> dict[str, str]:
        return {name: said for name, said in (("scope", self.scope), ("queue", self.queue)) if said}


class Draining(TocsinError):
    """The server is shutting down."""

    reason = "DRAINING"
    retry_after = timedelta(seconds=1)

    def __init__(self) -> None:
        super().__init__("the server is shutting down; nothing was changed. Repeat the call.")


class WatchAged(Draining):
    """A watch stood for its longest time. The caller opens a new one and goes on."""

    def __init__(self, max_age: timedelta) -> None:
        TocsinError.__init__(
            self,
            f"this watch stood for its longest time, {max_age}; open it again, with the last cursor where it has one",
        )


class DeadlinePassed(TocsinError):
    """The caller's deadline passed before anything was sent to the store."""

    reason = "DEADLINE_PASSED"

    def __init__(self) -> None:
        super().__init__("the deadline passed before anything was sent to the store. Repeat with more time.")


class ReadTooSlow(DeadlinePassed):
    """The deadline passed while the store was read."""

    def __init__(self) -> None:
        TocsinError.__init__(self, "the deadline passed while the store was read. Repeat with more time.")


class TransferIdle(DeadlinePassed):
    """Nothing came or went for too long in an export or an import."""

    def __init__(self, idle: timedelta) -> None:
        TocsinError.__init__(
            self,
            f"nothing was sent or taken for {idle.total_seconds():g} s, so the export or import was ended: others wait "
            "for its place. Begin it again when records are at hand.",
        )


class RequestLate(TransferIdle):
    """A call was begun, and its request did not come."""

    def __init__(self, idle: timedelta) -> None:
        TocsinError.__init__(
            self,
            f"no request came within {idle.total_seconds():g} s, so the call was ended; nothing was done for it. "
            "Send the request with the call.",
        )


class NotBuilt(TocsinError):
    """This version does not have it."""

    reason = "UNIMPLEMENTED"


class Internal(TocsinError):
    """A fault of the server: what it was stands in its log under `error_id`."""

    reason = "INTERNAL"
    facts = ("error_id",)

    def __init__(self, error_id: str) -> None:
        self.error_id = error_id
        super().__init__(f"a fault of the server; please report it with what its log says of {error_id}")
