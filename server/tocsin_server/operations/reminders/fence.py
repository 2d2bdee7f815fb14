"""The fence of reminders: an attempt asks it just before it sends, and a set that has moved meanwhile says no.

Why no send begins for an old anchor once a move was answered. A set is one note of the store, changed by compare and
swap only. An attempt of revision 3 writes itself into the note, where the note is of revision 3, and then sends. A move
writes revision 4, with the attempts that it found in the note, and answers once these have ended. Of two writes of one
note one comes first: if the attempt's, the move waits for it; if the move's, the attempt finds revision 4 and sends
nothing. That holds over any number of servers, for jobs that a slow call makes late, and for attempts of a server that
was killed, whose leases run out.

What it cannot hold: an attempt that has passed and whose process then stands still for longer than its lease has ended
for all others, and sends if it ever wakes.
"""

from __future__ import annotations

from datetime import datetime

from tocsin_server.domain.errors import OutcomeUnknown
from tocsin_server.domain.job import View
from tocsin_server.domain.reminders import (
    MOVED,
    SUPERSEDED,
    Entry,
    ReminderKind,
    ReminderSet,
    SetName,
    begun,
    superseding,
)
from tocsin_server.domain.states import State
from tocsin_server.operations.reminders.notes import SetNotes
from tocsin_server.store.interface import JobStore

_TRIES_IN_DOUBT = 3


class ReminderFence:
    """Lets attempts of a set's present revision pass."""

    def __init__(self, store: JobStore) -> None:
        self._store = store
        self._notes = SetNotes(store)

    async def now(self) -> datetime:
        """The store's clock. Called on the event loop of the store."""
        return await self._store.ping()

    async def begin(
        self, *, queue: str, kind: str, set_id: str, revision: int, job_id: str, attempt: int, now: datetime
    ) -> str:
        """Why this attempt sends nothing, "" where it may send now; kind is "booking" or "payment".

        MOVED: the set was moved, cancelled or forgotten since its job was made, or the job is none of it. SUPERSEDED: a
        later reminder of the set is due by now as well, and is sent instead. Where the answer is "", whoever moves or
        cancels the set waits for this attempt to end. Raises what the store raises; then the attempt must not send.
        Called on the event loop of the store.
        """
        name = SetName(queue, ReminderKind[kind.upper()], set_id)
        doubts = 0
        while True:
            stored = await self._notes.read(name)
            if stored is None or (entry := _entry_of(name, stored.reminder_set, revision, job_id)) is None:
                return MOVED
            if await self._is_superseded(name, stored.reminder_set, entry, now):
                return SUPERSEDED
            # Written also where it stands there already: what was read may be an old primary's, a write is not.
            try:
                if await self._notes.write(name, begun(stored.reminder_set, entry, attempt), stored):
                    return ""
            except OutcomeUnknown:
                doubts += 1
                if doubts == _TRIES_IN_DOUBT:
                    raise

    async def _is_superseded(self, name: SetName, reminder_set: ReminderSet, entry: Entry, now: datetime) -> bool:
        """Whether a later reminder was sent, or is about to be; one that failed for good, or was cancelled, is not."""
        later = list(superseding(name, reminder_set, entry, now))
        jobs = await self._store.get(name.queue, [job_id for _, job_id in later], View.BASIC) if later else []
        return any(
            other.attempt > 0 if job is None else job.state not in (State.FAILED, State.CANCELLED)
            for (other, _), job in zip(later, jobs, strict=True)
        )


def _entry_of(name: SetName, found: ReminderSet, revision: int, job_id: str) -> Entry | None:
    """The reminder that this job is to send, as the set stands."""
    if found.cancelled or found.revision != revision:
        return None
    return next((entry for entry, own in found.jobs(name) if entry.revision == revision and own == job_id), None)
