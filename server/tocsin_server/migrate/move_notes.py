"""What a queue remembers of its move, so that a run that was killed is carried on by the next.

Both sides keep a note beside the queue's jobs: the source how it was paused before, where it goes, and when it was
done; the target which of its jobs can only be copies.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from tocsin_server.domain.errors import StoreAway
from tocsin_server.store.interface import JobStore

KEY = "migration"
_KEPT_FOR = timedelta(days=3650)  # a source may be kept, switched off, for as long as anybody wants to go back
_TRIES = 10  # two runs of the same move at once are a mistake, but no reason to write over each other


@dataclass(frozen=True, slots=True)
class Leaving:
    """A queue that moves away, or has."""

    to: str
    paused: bool  # as its users had it, before it was paused for the move
    reason: str
    done_time: datetime | None = None  # the last look for what was made meanwhile, by its own clock


@dataclass(frozen=True, slots=True)
class Arriving:
    """A queue that is being filled. What was created before `copies_before` is a copy of what stands in the source,
    or stood there: nobody else has put it here. None: the queue had jobs of its own before."""

    copies_before: datetime | None


async def read(store: JobStore, queue: str) -> Leaving | Arriving | None:
    """What the queue remembers."""
    note = await store.read_note(queue, KEY)
    return None if note is None else _read(json.loads(note.value))


async def write(store: JobStore, queue: str, said: Leaving | Arriving) -> None:
    """Remember this in the place of what was."""
    value = json.dumps(_written(said)).encode()
    await _put(store, queue, value, await store.ping() + _KEPT_FOR)


async def forget(store: JobStore, queue: str) -> None:
    """Remember nothing any more."""
    if await store.read_note(queue, KEY) is not None:
        await _put(store, queue, b"null", await store.ping())


async def _put(store: JobStore, queue: str, value: bytes, until: datetime) -> None:
    for _ in range(_TRIES):
        note = await store.read_note(queue, KEY)
        if await store.write_note(queue, KEY, value, revision=0 if note is None else note.revision, until=until):
            return
    raise StoreAway(f"others keep changing how queue {queue!r} moves: let one migration of a queue run at a time")


def _written(said: Leaving | Arriving) -> Mapping[str, Any]:
    if isinstance(said, Leaving):
        return {"to": said.to, "paused": said.paused, "reason": said.reason, "done": _text(said.done_time)}
    return {"copies_before": _text(said.copies_before)}


def _read(said: Mapping[str, Any] | None) -> Leaving | Arriving | None:
    if said is None:
        return None
    if "to" in said:
        return Leaving(said["to"], said["paused"], said["reason"], _time(said["done"]))
    return Arriving(_time(said["copies_before"]))


def _text(time: datetime | None) -> str | None:
    return None if time is None else time.isoformat()


def _time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text).astimezone(UTC)
