"""What a queue remembers of its move, so that a run that was killed is carried on by the next.

Both sides keep a note beside the queue's jobs: the source how it was paused before, where it goes, and when it was
done; the target which of its jobs can only be copies. A note counts as long as the queue is paused for that move: who
has resumed it since has said that it is this side's again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from tocsin_server.domain.queues import QueueSettings
from tocsin_server.store.interface import JobStore

KEY = "migration"
_KEPT_FOR = timedelta(days=3650)  # a source may be kept, switched off, for as long as anybody wants to go back


@dataclass(frozen=True, slots=True)
class Leaving:
    """A queue that moves away, or has."""

    to: str
    paused: bool  # as its users had it, before it was paused for the move
    reason: str
    done_time: datetime | None = None  # the last look for what was made meanwhile, by its own clock
    cursor: str = ""  # of its events at that look


@dataclass(frozen=True, slots=True)
class Arriving:
    """A queue that is being filled. What was created before `copies_before` is a copy of what stands in the source,
    or stood there: nobody else has put it here. None: the queue had jobs of its own before. `keeps_settings`: it had
    settings of its own, and keeps them."""

    copies_before: datetime | None
    keeps_settings: bool = False


Move = Leaving | Arriving


class Overtaken(Exception):
    """Another run moves the same queue at this moment; the message names the queue."""


def leaving(place: str) -> str:
    """Why a queue that moves away, or has, is paused."""
    return f"its jobs move to {place}"


def arriving(place: str) -> str:
    """Why a queue that is being filled is paused."""
    return f"its jobs arrive from {place}"


async def standing(store: JobStore, queue: str, settings: QueueSettings) -> Move | None:
    """The move for which the queue is paused; None where it is for none. One read more, of paused queues alone."""
    if not settings.paused:
        return None
    move = await read(store, queue)
    if isinstance(move, Leaving):
        return move if settings.pause_reason == leaving(move.to) else None
    return move if settings.pause_reason.startswith(arriving("")) else None


async def read(store: JobStore, queue: str) -> Move | None:
    """What the queue remembers."""
    note = await store.read_note(queue, KEY)
    return None if note is None else _read(json.loads(note.value))


async def revision(store: JobStore, queue: str) -> int:
    """That of the note; 0: there is none."""
    note = await store.read_note(queue, KEY)
    return 0 if note is None else note.revision


async def write(store: JobStore, queue: str, move: Move, *, revision: int) -> int:
    """Remember this in the place of what stood at that revision; the new one. Overtaken, where others wrote."""
    value = json.dumps(_written(move)).encode()
    until = await store.ping() + _KEPT_FOR
    if not await store.write_note(queue, KEY, value, revision=revision, until=until):
        raise Overtaken(queue)
    return revision + 1


async def forget(store: JobStore, queue: str) -> None:
    """Remember nothing any more."""
    if (note := await store.read_note(queue, KEY)) is not None:
        await store.write_note(queue, KEY, b"null", revision=note.revision, until=await store.ping())


def _written(move: Leaving | Arriving) -> Mapping[str, Any]:
    if isinstance(move, Leaving):
        done = {"done": _text(move.done_time), "cursor": move.cursor}
        return {"to": move.to, "paused": move.paused, "reason": move.reason, **done}
    return {"copies_before": _text(move.copies_before), "keeps_settings": move.keeps_settings}


def _read(stored: Mapping[str, Any] | None) -> Leaving | Arriving | None:
    if stored is None:
        return None
    if "to" in stored:
        return Leaving(
            stored["to"], stored["paused"], stored["reason"], _time(stored["done"]), stored.get("cursor", "")
        )
    return Arriving(_time(stored["copies_before"]), stored.get("keeps_settings", False))


def _text(time: datetime | None) -> str | None:
    return None if time is None else time.isoformat()


def _time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text).astimezone(UTC)
