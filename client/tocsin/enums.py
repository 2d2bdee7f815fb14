"""The closed lists of words. Each is a str: State.FAILED == "FAILED", and prints as FAILED."""

from __future__ import annotations

from enum import StrEnum


class State(StrEnum):
    """Where a job is in its life."""

    SCHEDULED = "SCHEDULED"  # due later, also between retries
    BLOCKED = "BLOCKED"  # waits for other jobs
    WAITING = "WAITING"  # due
    ACTIVE = "ACTIVE"  # an attempt runs
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"  # attempts spent, failed for good, or poison: the dead letter
    CANCELLED = "CANCELLED"

    @property
    def ended(self) -> bool:
        """COMPLETED, FAILED or CANCELLED."""
        return self in (State.COMPLETED, State.FAILED, State.CANCELLED)


class OnConflict(StrEnum):
    """What happens when a job of this id stands already."""

    FAIL = "FAIL"  # refuse with AlreadyExists
    KEEP = "KEEP"  # leave the standing job as it is and answer with it
    REPLACE = "REPLACE"  # put this one in its place


class Over(StrEnum):
    """What an import does with what stands already."""

    KEEP = "KEEP"  # leave it as it is
    REPLACE = "REPLACE"  # put the record in its place


class CollapseMode(StrEnum):
    """What becomes of a job where another of its queue, type and key stands."""

    KEEP = "KEEP"  # while one has not ended, or for a window, no other is made
    REPLACE = "REPLACE"  # one that waits becomes this one; beside one that runs this one waits
    THROTTLE = "THROTTLE"  # the first of each window
    DEBOUNCE = "DEBOUNCE"  # the last, once none has come for a window
    RUN_AGAIN_AFTER = "RUN_AGAIN_AFTER"  # a single next one waits for the end of the one that runs


class WhenParentFails(StrEnum):
    """What becomes of a job that waits for others where one of them fails, is cancelled or is gone."""

    RUN = "RUN"  # it runs once all have ended
    FAIL = "FAIL"  # it ends FAILED
    CANCEL = "CANCEL"  # it ends CANCELLED


class ParentEnd(StrEnum):
    """How a job ended that another waited for."""

    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"
    GONE = "GONE"  # it was deleted before it had


class Outcome(StrEnum):
    """What `schedule` did."""

    CREATED = "CREATED"
    KEPT = "KEPT"
    REPLACED = "REPLACED"


class LimitScope(StrEnum):
    """Which jobs a limit counts together."""

    QUEUE = "QUEUE"  # all of the queue
    TYPE = "TYPE"  # all of one type
    KEY = "KEY"  # those of one limit_key, each key by itself


class OnFull(StrEnum):
    """What happens to a job that comes while its limit is full."""

    WAIT = "WAIT"
    CANCEL_NEW = "CANCEL_NEW"  # it ends at once, CANCELLED with the reason LIMIT_FULL
    CANCEL_RUNNING = "CANCEL_RUNNING"  # it waits, and the one that began first is asked to stop


class Backoff(StrEnum):
    """How waits between attempts grow."""

    FIXED = "FIXED"
    EXPONENTIAL = "EXPONENTIAL"


class View(StrEnum):
    """How much of a job is given."""

    BASIC = "BASIC"  # without payload, result and traces
    FULL = "FULL"


class Why(StrEnum):
    """Why a job is not running."""

    DUE_IN = "DUE_IN"  # it is due later
    RETRYING_AT = "RETRYING_AT"  # an attempt failed; the next is due later
    EXPIRES_AT = "EXPIRES_AT"  # it ends by itself before it is due, or its time is over
    QUEUE_PAUSED = "QUEUE_PAUSED"
    MOVED = "MOVED"  # its queue moves to another store, or has
    NO_WORKER = "NO_WORKER"  # nobody who is heard of runs its type
    LIMIT = "LIMIT"  # a limit is full
    TURN = "TURN"  # its key waits for its turn
    BEHIND = "BEHIND"  # others are taken first, or nobody has a free slot
    BLOCKED_BY = "BLOCKED_BY"  # it waits for other jobs
    LEASED_BY = "LEASED_BY"  # it runs
    ENDED = "ENDED"
    STORE_AWAY = "STORE_AWAY"  # the store does not answer
    HELD = "HELD"  # no attempt begins until it is let go


class ReminderKind(StrEnum):
    """What a reminder set reminds of."""

    BOOKING = "BOOKING"
    PAYMENT = "PAYMENT"


class OnExcluded(StrEnum):
    """What becomes of a schedule's time on a day that a calendar excludes."""

    SKIP = "SKIP"
    NEXT_DAY = "NEXT_DAY"
    PREVIOUS_DAY = "PREVIOUS_DAY"


class Overlap(StrEnum):
    """What becomes of a schedule's time whose predecessor's job has not ended."""

    SKIP = "SKIP"
    QUEUE_ONE = "QUEUE_ONE"
    ALLOW = "ALLOW"
    CANCEL_OTHER = "CANCEL_OTHER"


class Missed(StrEnum):
    """What becomes of a schedule's times that passed while no server was there."""

    ONCE = "ONCE"
    SKIP = "SKIP"
    ALL = "ALL"


class Durability(StrEnum):
    """What the store does before it says that a write is done."""

    UNKNOWN = "UNKNOWN"
    NONE = "NONE"  # nothing: a restart of the store loses all
    EVERY_SECOND = "EVERY_SECOND"  # on disk within a second
    EACH_WRITE = "EACH_WRITE"  # on disk before the answer
