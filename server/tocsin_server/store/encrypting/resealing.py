"""What a store holds is sealed anew where the primary key has not sealed it: a step at a time, in any order, while
servers go on. What is done is passed over the next time, so that whoever breaks off begins again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from tocsin_server.domain.errors import CannotDecrypt
from tocsin_server.domain.job import Job, View
from tocsin_server.domain.logs import LoggedLine
from tocsin_server.domain.schedules.standing import Schedule
from tocsin_server.domain.sealed import KIND, is_sealed
from tocsin_server.store.encrypting.opening import Opener
from tocsin_server.store.encrypting.sealing import OF_KEY, OF_SCHEDULE, OWN, from_text, key_of
from tocsin_server.store.encrypting.store import EncryptingStore
from tocsin_server.store.encrypting.values import line_field, sealed_job, sealed_text
from tocsin_server.store.interface import JobStore, StoredNote
from tocsin_server.store.sealed_store import Resealed, ResealedLine

_ROUNDS = 20  # before a job is left that others keep changing: the next run finds it
_NAMED = 100  # values that cannot be opened are named, so many of them


@dataclass(slots=True)
class Resealing:
    """Figures of a run so far."""

    jobs: int = 0  # looked at
    sealed: int = 0  # of them sealed anew
    lines: int = 0
    notes: int = 0
    schedules: int = 0
    left: int = 0  # others kept changing them
    unreadable: int = 0  # cannot be opened: their key is missing, or they were altered
    named: list[str] = field(default_factory=list)

    def cannot(self, error: CannotDecrypt) -> None:
        """One more that cannot be opened."""
        self.unreadable += 1
        if len(self.named) < _NAMED:
            self.named.append(str(error))


class Resealer:
    """Seals anew what the store inside an encrypting one holds."""

    def __init__(self, store: EncryptingStore, done: Resealing) -> None:
        store.keys.look()
        self._outer = store
        self.inner: JobStore = store.inner  # what is read here is as it stands
        self._keys = store.keys
        self._opener = Opener(store.keys)
        self.done = done

    async def jobs(self, queue: str, jobs: Sequence[Job]) -> None:
        """Jobs (View.FULL) as they were read from the store inside, and their logs."""
        self.done.jobs += len(jobs)
        left = list(jobs)
        for _ in range(_ROUNDS):
            resealed = [anew for job in left if (anew := self._anew(job)) is not None]
            if not resealed:
                break
            answers = await self.inner.sealed.reseal(queue, resealed)
            self.done.sealed += sum(answers)
            lost = [one.before.job_id for one, done in zip(resealed, answers, strict=True) if not done]
            left = [job for job in await self.inner.get(queue, lost, View.FULL) if job is not None] if lost else []
        else:
            self.done.left += len(left)
        for job in jobs:
            if job.attempt:  # others have no lines
                await self._log(job)

    def _anew(self, job: Job) -> Resealed | None:
        key = self._keys.ring.primary
        if _is_sealed_by(job, key.key_id):
            return None
        try:
            return Resealed(job, sealed_job(key, self._opener.job(job, strict=True)))
        except CannotDecrypt as error:
            self.done.cannot(error)
            return None

    async def _log(self, job: Job) -> None:
        key, cursor, number = self._keys.ring.primary, "", 0
        while (page := await self.inner.logs(job.queue, job.job_id, cursor=cursor)) is not None:
            anew: list[ResealedLine] = []
            for line in page.lines:
                number += line.dropped or 1
                if line.dropped or not line.text or _text_is_by(line.text, key.key_id):
                    continue
                try:
                    anew.append(ResealedLine(number, line.text, self._line(job, line)))
                except CannotDecrypt as error:
                    self.done.cannot(error)
            if anew:
                self.done.lines += await self.inner.sealed.reseal_lines(job.queue, job.job_id, job.arrival, anew)
            cursor = page.cursor
            if not page.more:
                return

    def _line(self, job: Job, line: LoggedLine) -> str:
        opened = self._opener.line(job.queue, job.job_id, line, strict=True)
        name = line_field(line.attempt, line.level)
        return sealed_text(self._keys.ring.primary, name, job.queue, job.job_id, opened.text)

    async def note(self, queue: str, note: StoredNote) -> None:
        """A note as it was read from the store inside. One that others change meanwhile is sealed by them."""
        if is_sealed(note.value) and key_of(note.value) == self._keys.ring.primary.key_id:
            return
        try:
            found = await self._outer.read_note(queue, note.key)
        except CannotDecrypt as error:
            self.done.cannot(error)
            return
        if found is not None:
            revision, until = found.revision, note.until
            self.done.notes += await self._outer.write_note(
                queue, note.key, found.value, revision=revision, until=until
            )

    async def schedule(self, queue: str, schedule: Schedule) -> None:
        """A schedule as it was read from the store inside. One that others change meanwhile is sealed by them."""
        spec, key_id = schedule.spec, self._keys.ring.primary.key_id
        payload = spec.job.payload
        is_current = payload is None or (payload.kind == KIND and _is_by(payload.body, key_id, OF_SCHEDULE, OF_KEY))
        if is_current and (not spec.note or _text_is_by(spec.note, key_id)):
            return
        try:
            opened = self._opener.schedule(schedule)
        except CannotDecrypt as error:
            self.done.cannot(error)
            return
        self.done.schedules += await self._outer.schedules.put_schedule(opened)


def _is_by(sealed: bytes, key_id: str, *bindings: int) -> bool:
    return is_sealed(sealed) and sealed[1] in (bindings or (OWN,)) and key_of(sealed) == key_id


def _text_is_by(text: str, key_id: str) -> bool:
    sealed = from_text(text)
    return sealed is not None and key_of(sealed) == key_id


def _is_sealed_by(job: Job, key_id: str) -> bool:
    """Whether this key has sealed all of it that is to be sealed."""
    payload = job.spec.payload
    if payload is not None and not (payload.kind == KIND and _is_by(payload.body, key_id)):
        return False
    if job.result is not None and not _is_by(job.result, key_id):
        return False
    texts = [text for error in job.errors for text in (error.message, error.trace)]
    if job.progress is not None:
        texts.append(job.progress.message)
    return all(not text or _text_is_by(text, key_id) for text in texts)
