"""Sets of reminders that follow the time of a booking or payment: their names, what they hold, and how they change.

A set stores offsets from an anchor time. Each move and each cancel makes a new revision of it; a reminder's job belongs
to the revision it was made for, and its id says which. What makes a move safe stands in operations/reminders/fence.py.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from enum import IntEnum

from tocsin_server.domain import limits
from tocsin_server.domain.job import Job
from tocsin_server.domain.record import record
from tocsin_server.domain.states import ENDED, State
from tocsin_server.domain.times import MILLISECOND

#: The longest id that a job's id still has in full, beside the rest of it.
_PLAIN_CHARACTERS, _PLAIN_BYTES = 150, 500
TAG = "reminder"

#: Why an attempt sends nothing, as its job's result says.
MOVED = "the set was moved"
SUPERSEDED = "a later one is due"
BEGUN = "the booking has begun"
#: One for the very time of its booking or payment may be so late.
_LATE_AT_ITS_TIME = timedelta(minutes=5)


class ReminderKind(IntEnum):
    """What a set reminds of. The numbers are those of tocsin.v1.ReminderSet.Kind."""

    BOOKING = 1
    PAYMENT = 2

    @property
    def word(self) -> str:
        """Its name in ids, tags and keys."""
        return self.name.lower()

    @property
    def job_type(self) -> str:
        """The type of its jobs."""
        return f"{self.word}_reminder"


#: Where a call names no offsets.
DEFAULT_OFFSETS: Mapping[ReminderKind, tuple[timedelta, ...]] = {
    ReminderKind.BOOKING: (timedelta(hours=24), timedelta(hours=1), timedelta(minutes=15)),
    ReminderKind.PAYMENT: (timedelta(days=7), timedelta(days=1), timedelta(days=-1)),
}


@record
class SetName:
    """What names a set, and what is named after it."""

    queue: str
    kind: ReminderKind
    set_id: str

    @property
    def key(self) -> str:
        """The key of its note in the store."""
        return f"{self.kind.word}/{self.set_id}"

    @property
    def tags(self) -> Mapping[str, str]:
        """What its jobs are labelled with; a hash stands in for an id that is too long for a tag."""
        plain = self.key
        if len(plain.encode()) > limits.TAG_VALUE_BYTES:
            plain = f"{self.kind.word}#{self._hash}"
        return {TAG: plain}

    def job_id(self, offset: timedelta, revision: int) -> str:
        """The job of one reminder: "booking:42:3600:g1", the offset in seconds."""
        return f"{self._stem}{_seconds(offset)}:g{revision}"

    def revision_in(self, job_id: str) -> int | None:
        """The revision that a job of this set belongs to; None where it is not of this set."""
        stem = self._stem
        found = _TAIL.fullmatch(job_id[len(stem) :]) if job_id.startswith(stem) else None
        return int(found[1]) if found else None

    def has(self, job: Job) -> bool:
        """Whether a job that bears the id of one of its reminders is a reminder of it."""
        return job.spec.type == self.kind.job_type and job.spec.tags.get(TAG) == self.tags[TAG]

    @property
    def _stem(self) -> str:
        plain = self.set_id
        if len(plain) <= _PLAIN_CHARACTERS and len(plain.encode()) <= _PLAIN_BYTES:
            return f"{self.kind.word}:{plain}:"
        # Another sign than ":" after the kind, so that no id in full can look like a hash.
        return f"{self.kind.word}#{self._hash}:"

    @property
    def _hash(self) -> str:
        return hashlib.sha256(self.set_id.encode()).hexdigest()


_ID = re.compile(r"(booking|payment)[:#].*:-?[0-9]+(?:\.[0-9]+)?:g[0-9]{1,18}", re.DOTALL)
_TAIL = re.compile(r"-?[0-9]+(?:\.[0-9]+)?:g([0-9]{1,18})")


def reserved_for(job_id: str) -> ReminderKind | None:
    """The kind of reminders whose jobs alone bear ids of this form; None: anybody's may."""
    found = _ID.fullmatch(job_id)
    return ReminderKind[found[1].upper()] if found else None


def _seconds(offset: timedelta) -> str:
    ms = offset // MILLISECOND
    whole, rest = divmod(abs(ms), 1000)
    return f"{'-' if ms < 0 else ''}{whole}" + (f".{rest:03}".rstrip("0") if rest else "")


@record
class Wish:
    """What a schedule call wants a set to be. `content` is a digest of what is sent."""

    anchor: datetime
    offsets: tuple[timedelta, ...]
    content: bytes


@record
class Entry:
    """One reminder of a set."""

    offset: timedelta  # before the anchor
    revision: int  # of its job; 0: it has none, as its time had passed
    attempt: int = 0  # the last attempt of its job that began to send; 0: none has


@record
class Earlier:
    """A job of an earlier revision that had not ended when it was last looked at."""

    job_id: str
    attempt: int  # the last that began to send; 0: none has


@record
class ReminderSet:
    """A set as its note holds it. `until`: it is forgotten then."""

    anchor: datetime
    content: bytes
    entries: tuple[Entry, ...]  # the earliest first
    revision: int
    until: datetime
    cancelled: bool = False
    earlier: tuple[Earlier, ...] = ()

    def is_as(self, wish: Wish) -> bool:
        """Whether it is what the call wants already."""
        offsets = {entry.offset for entry in self.entries}
        asked = (wish.anchor, wish.content, set(wish.offsets))
        return not self.cancelled and (self.anchor, self.content, offsets) == asked

    def send_time(self, entry: Entry) -> datetime:
        """When a reminder is due."""
        return self.anchor - entry.offset

    def jobs(self, name: SetName) -> Iterator[tuple[Entry, str]]:
        """The reminders that have a job, with its id."""
        for entry in self.entries:
            if entry.revision:
                yield entry, name.job_id(entry.offset, entry.revision)

    def begun(self, name: SetName) -> tuple[Earlier, ...]:
        """Its jobs whose attempts have begun to send."""
        return tuple(Earlier(job_id, entry.attempt) for entry, job_id in self.jobs(name) if entry.attempt)


#: Jobs as they stand, by id; one that is missing does not stand.
Standing = Mapping[str, Job]


def sends(job: Job | None, attempt: int) -> bool:
    """Whether this attempt, which began to send, may still be at it."""
    return attempt > 0 and job is not None and job.state is State.ACTIVE and job.attempt == attempt


def any_sends(name: SetName, reminder_set: ReminderSet, jobs: Standing) -> bool:
    """Whether any reminder of the set may be under way."""
    return any(sends(jobs.get(job.job_id), job.attempt) for job in reminder_set.begun(name))


def only_content_changes(old: ReminderSet, wish: Wish) -> bool:
    """Whether the wish leaves the set's anchor as it is."""
    return not old.cancelled and old.anchor == wish.anchor


def scheduled(
    name: SetName, old: ReminderSet | None, wish: Wish, jobs: Standing, now: datetime, *, revision: int
) -> ReminderSet:
    """The set that the wish makes of the old one: a new revision of it, or the first where there was none.

    Reminders whose time is ahead stand, the others are skipped. Where only the content or the offsets change, a
    reminder that was sent is not sent again, and one that is due and not yet sent is not lost. Of a set with the same
    anchor no attempt may be sending: whether that reminder is sent could not be told.
    """
    before: dict[timedelta, tuple[Entry, str]] = {}
    if old is not None and only_content_changes(old, wish):
        before = {entry.offset: (entry, job_id) for entry, job_id in old.jobs(name)}
    entries, kept = [], set()
    for offset in sorted(wish.offsets, reverse=True):
        entry, job_id = before.get(offset, (None, ""))
        job = jobs.get(job_id)
        if entry is not None and _is_over(entry, job):
            entries.append(entry)
            kept.add(job_id)
        else:
            stands = wish.anchor - offset > now or job is not None
            entries.append(Entry(offset, revision if stands else 0))
    earlier = () if old is None else _left_over(name, old, jobs, kept)
    until = _until(wish.anchor, entries, now)
    return ReminderSet(wish.anchor, wish.content, tuple(entries), revision, until, earlier=earlier)


def cancelled(name: SetName, old: ReminderSet, jobs: Standing, now: datetime) -> ReminderSet:
    """The set once it is cancelled."""
    return replace(
        old,
        revision=old.revision + 1,
        cancelled=True,
        earlier=_left_over(name, old, jobs, set()),
        until=_until(old.anchor, old.entries, now),
    )


def begun(old: ReminderSet, at: Entry, attempt: int) -> ReminderSet:
    """The set once an attempt has begun to send one of its reminders."""
    entries = tuple(replace(entry, attempt=attempt) if entry == at else entry for entry in old.entries)
    return replace(old, entries=entries)


def passes_at(anchor: datetime, offset: timedelta | None) -> datetime:
    """From when on a reminder comes after what it reminds of; offset: its own, None where it has none."""
    return anchor + (_LATE_AT_ITS_TIME if offset == timedelta(0) else timedelta(0))


def has_passed(anchor: datetime, offset: timedelta | None, now: datetime) -> bool:
    """Whether a reminder comes after what it reminds of; offset: its own, None where it has none."""
    return now >= passes_at(anchor, offset)


def superseding(name: SetName, reminder_set: ReminderSet, entry: Entry, now: datetime) -> Iterator[tuple[Entry, str]]:
    """Later reminders of the set that are due, too, with their jobs' ids: after an outage one is sent, not all."""
    for other, job_id in reminder_set.jobs(name):
        if other.offset < entry.offset and reminder_set.send_time(other) <= now:
            yield other, job_id


def mended(name: SetName, old: ReminderSet, jobs: Standing, now: datetime) -> ReminderSet:
    """The set as a repeat of its call makes it: a reminder whose job was never made, and whose time has passed
    meanwhile, is skipped."""
    lost = {entry for entry, _ in missing(name, old, jobs) if old.send_time(entry) <= now}
    return replace(old, entries=tuple(replace(entry, revision=0) if entry in lost else entry for entry in old.entries))


def missing(name: SetName, reminder_set: ReminderSet, jobs: Standing) -> Iterator[tuple[Entry, str]]:
    """Reminders whose job was never made: the call that was to make it ended half-way. With their jobs' ids.

    A job that ran and was deleted after its retention is not missing.
    """
    for entry, job_id in reminder_set.jobs(name):
        if entry.revision == reminder_set.revision and not entry.attempt and job_id not in jobs:
            yield entry, job_id


def _is_over(entry: Entry, job: Job | None) -> bool:
    """Whether a reminder was sent, failed for good, or was cancelled by hand."""
    return entry.attempt > 0 if job is None else job.state in ENDED


def _left_over(name: SetName, old: ReminderSet, jobs: Standing, kept: set[str]) -> tuple[Earlier, ...]:
    """Jobs that are of an earlier revision now and have not ended."""
    left = {one.job_id: one for one in old.earlier if (job := jobs.get(one.job_id)) and job.state not in ENDED}
    for entry, job_id in old.jobs(name):
        job = jobs.get(job_id)
        # One that does not stand may be about to be made by a slow call.
        if job_id not in kept and (job is None or job.state not in ENDED):
            left[job_id] = Earlier(job_id, entry.attempt)
    return tuple(left.values())


def _until(anchor: datetime, entries: list[Entry] | tuple[Entry, ...], now: datetime) -> datetime:
    last = max(now, anchor, *(anchor - entry.offset for entry in entries))
    return min(last, limits.LAST_TIME - limits.REMINDER_SET_KEPT) + limits.REMINDER_SET_KEPT
