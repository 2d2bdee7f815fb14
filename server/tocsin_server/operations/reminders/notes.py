"""A reminder set as a note of the store: JSON, times in milliseconds."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from tocsin_server.domain import limits
from tocsin_server.domain.reminders import Earlier, Entry, ReminderKind, ReminderSet, SetName
from tocsin_server.domain.times import MILLISECOND, time_to_ms, to_time
from tocsin_server.store.interface import JobStore

_MOST = 1 << 53  # of a counter: what every reader of JSON can hold


@dataclass(frozen=True, slots=True)
class Stored:
    """A set, and the revision of its note: that changes with each attempt that begins to send, the set's does not."""

    reminder_set: ReminderSet
    note_revision: int


class SetNotes:
    """Reads and writes sets."""

    def __init__(self, store: JobStore) -> None:
        self._store = store

    async def read(self, name: SetName) -> Stored | None:
        """The set; None where there is none. StoreAway."""
        note = await self._store.read_note(name.queue, name.key)
        return None if note is None else Stored(_set_of(note.value), note.revision)

    async def write(self, name: SetName, new: ReminderSet, over: Stored | None) -> bool:
        """Put a set in the place of the one that was read; False where another one stands there by now."""
        revision = 0 if over is None else over.note_revision
        return await self._store.write_note(name.queue, name.key, _bytes_of(new), revision=revision, until=new.until)


def names_set(key: str) -> bool:
    """Whether the note of this key is that of a set."""
    word, _, set_id = key.partition("/")
    return word in {kind.word for kind in ReminderKind} and 0 < len(set_id) <= limits.JOB_ID_CHARACTERS


def set_in(value: bytes) -> ReminderSet | None:
    """The set that a note's value holds, whoever has written it; None where it holds none."""
    try:
        reminder_set = _set_of(value)
        return reminder_set if _is_sound(reminder_set) else None
    except (ArithmeticError, AttributeError, KeyError, TypeError, ValueError, RecursionError):
        return None


def _is_sound(reminder_set: ReminderSet) -> bool:
    counters = [reminder_set.revision]
    for entry in reminder_set.entries:
        counters += (entry.revision, entry.attempt)
    for job in reminder_set.earlier:
        counters.append(job.attempt)
        job.job_id.encode()  # half of a surrogate pair has no UTF-8
    return (
        all(isinstance(counter, int) and 0 <= counter <= _MOST for counter in counters)
        and reminder_set.revision > 0
        and isinstance(reminder_set.cancelled, bool)
        and len(reminder_set.entries) <= limits.REMINDERS_PER_SET
        and all(abs(entry.offset) <= limits.MAX_REMINDER_OFFSET for entry in reminder_set.entries)
        and min(reminder_set.anchor, reminder_set.until) >= limits.FIRST_TIME
    )


def _bytes_of(reminder_set: ReminderSet) -> bytes:
    fields = {
        "anchor_ms": time_to_ms(reminder_set.anchor),
        "content": reminder_set.content.hex(),
        "entries": [[entry.offset // MILLISECOND, entry.revision, entry.attempt] for entry in reminder_set.entries],
        "revision": reminder_set.revision,
        "until_ms": time_to_ms(reminder_set.until),
        "cancelled": reminder_set.cancelled,
        "earlier": [[job.job_id, job.attempt] for job in reminder_set.earlier],
    }
    return json.dumps(fields, separators=(",", ":"), ensure_ascii=False).encode()


def _set_of(stored: bytes) -> ReminderSet:
    fields: dict[str, Any] = json.loads(stored)
    return ReminderSet(
        anchor=to_time(fields["anchor_ms"]),
        content=bytes.fromhex(fields["content"]),
        entries=tuple(
            Entry(offset * MILLISECOND, revision, attempt) for offset, revision, attempt in fields["entries"]
        ),
        revision=fields["revision"],
        until=to_time(fields["until_ms"]),
        cancelled=fields["cancelled"],
        earlier=tuple(Earlier(job_id, attempt) for job_id, attempt in fields["earlier"]),
    )
