"""What was brought in from one queue of another system, remembered beside the queue that it came to.

A job goes after its retention, or as one of too many, and its id with it. Nothing but this tells a next import that it
was here and has run: so it is written before the jobs are placed, is kept for years, and costs 11 bytes a job.

An import may die between writing down a batch and placing it. Which of the batch were placed the next one reads from
the queue's events. Those of which nobody can tell any more, since the events are gone, are in doubt for good: whether
to run them again is for a person to say.
"""

from __future__ import annotations

import hashlib
import json
from base64 import b64decode, b64encode
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from tocsin_server.migrate.systems.marks import Marks
from tocsin_server.store.interface import JobStore

_KEPT_FOR = timedelta(days=3650)  # an old queue may be kept for as long as anybody may want to go back
_PAGE = 400  # marks of one note, a record of a few KiB
_BYTES = 8  # of a mark: among a million jobs of a queue the chance of two alike is 3 in 100 million
_AT_ONCE = timedelta(0)


class AnotherImport(Exception):
    """Another import brings in the same queue at this moment; the message says what to do."""


def mark_of(job_id: str, made: datetime | None) -> bytes:
    """What tells a job from all others of its source's queue, at all times. `made`: where the source knows it."""
    named = f"{job_id}\n{'' if made is None else made.isoformat(timespec='milliseconds')}"
    return hashlib.blake2b(named.encode(errors="replace"), digest_size=_BYTES).digest()


@dataclass(slots=True)
class _Page:
    """One note: marks of jobs that were placed, that are being placed, and that are in doubt."""

    number: int
    revision: int = 0
    placed: list[bytes] = field(default_factory=list)
    placing: list[bytes] = field(default_factory=list)
    cursor: str = ""  # of the queue's events before `placing` was begun
    doubted: list[bytes] = field(default_factory=list)


class Ledger:
    """Of one queue here, and one of another system's. It is read once, and then known without asking; `forget` ends
    that."""

    def __init__(self, store: JobStore, queue: str, origin: str, until: datetime) -> None:
        self._store = store
        self._queue = queue
        self._key = f"import/{hashlib.sha256(origin.encode(errors='replace')).hexdigest()[:16]}"
        self._until = until
        self._placed = Marks()
        self._doubted: set[bytes] = set()
        self._page = _Page(0)
        self.new = False  # nothing was ever brought in from there

    @classmethod
    async def opened(cls, store: JobStore, queue: str, origin: str) -> Ledger:
        """What is remembered of this queue and `origin`, which names the other system's."""
        ledger = cls(store, queue, origin, await store.ping() + _KEPT_FOR)
        try:
            await ledger._read()
        except BaseException:
            ledger.forget()
            raise
        return ledger

    def was_placed(self, mark: bytes) -> bool:
        """Whether the job was brought in before."""
        return mark in self._placed

    def is_doubted(self, mark: bytes) -> bool:
        """Whether nobody can tell if the job was brought in."""
        return mark in self._doubted

    def settle(self, mark: bytes) -> None:
        """One in doubt was found standing."""
        self._doubted.discard(mark)
        self._placed.add([mark])

    async def begin(self) -> None:
        """Write down that an import from there has begun, where nothing says so yet."""
        if self.new:
            await self._write()

    async def promise(self, marks: Sequence[bytes]) -> None:
        """These are about to be placed. AnotherImport."""
        if len(self._page.placed) + len(marks) > _PAGE and self._page.placed:
            await self._write()
            self._page = _Page(self._page.number + 1)
        self._page.cursor = await self._store.cursor(self._queue)
        self._page.placing = list(marks)
        await self._write()

    def placed(self, marks: Iterable[bytes]) -> None:
        """Of the last promise these were placed, or stood; the others were not. It is written with what comes next."""
        done = list(marks)
        self._page.placing = []
        self._page.placed += done
        self._placed.add(done)

    async def close(self) -> None:
        """Nothing is under way any more. AnotherImport."""
        if self._page.cursor:
            self._page.cursor = ""
            await self._write()

    def forget(self) -> None:
        """What it knows here, not what it has written; nothing is asked of it any more."""
        self._placed.close()

    async def _read(self) -> None:
        number = 0
        while (note := await self._store.read_note(self._queue, self._name(number))) is not None:
            self._page = _page(number, note.revision, note.value)
            self._placed.add(self._page.placed)
            self._doubted.update(self._page.doubted)
            number += 1
        self.new = not number
        await self._look_what_was_placed()

    async def _look_what_was_placed(self) -> None:
        """An import died: each job that it placed has made an event since."""
        page = self._page
        if not page.placing:
            return
        placing, seen, gap, cursor = set(page.placing), set[bytes](), False, page.cursor
        while not gap:
            batch = await self._store.events(self._queue, cursor, wait=_AT_ONCE)
            for event in batch.events:
                job = event.job
                seen |= placing & {mark_of(job.job_id, job.create_time), mark_of(job.job_id, None)}
            gap, cursor = batch.gap, batch.cursor
            if not batch.events:
                break
        if gap:
            page.doubted += page.placing
            self._doubted.update(page.placing)
        page.placing = [] if gap else [mark for mark in page.placing if mark in seen]
        self.placed(page.placing)

    async def _write(self) -> None:
        page = self._page
        page.doubted = [mark for mark in page.doubted if mark not in self._placed]
        value = json.dumps(
            {
                "placed": _text(page.placed),
                "placing": _text(page.placing),
                "cursor": page.cursor,
                "doubted": _text(page.doubted),
            }
        ).encode()
        name = self._name(page.number)
        if not await self._store.write_note(self._queue, name, value, revision=page.revision, until=self._until):
            raise AnotherImport(f"another import brings jobs into queue {self._queue!r}: let one run at a time")
        page.revision += 1
        self.new = False

    def _name(self, number: int) -> str:
        return f"{self._key}/{number:06}"


def _page(number: int, revision: int, value: bytes) -> _Page:
    said = json.loads(value)
    placed, placing, doubted = (_marks(said[name]) for name in ("placed", "placing", "doubted"))
    return _Page(number, revision, placed, placing, said["cursor"], doubted)


def _text(marks: Sequence[bytes]) -> str:
    return b64encode(b"".join(marks)).decode()


def _marks(text: str) -> list[bytes]:
    joined = b64decode(text)
    return [joined[at : at + _BYTES] for at in range(0, len(joined), _BYTES)]
