"""EncryptingStore: a store around a store. What users said is sealed on the way in and opened on the way out; what is
decided by passes as it is, so both stores keep their contract, and their indexes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import structlog

from tocsin_server.domain.commands import CancelJob, Change
from tocsin_server.domain.errors import CannotDecrypt, TocsinError
from tocsin_server.domain.events import Event, EventBatch
from tocsin_server.domain.explaining import Outlook
from tocsin_server.domain.filters import ListQuery, Page
from tocsin_server.domain.job import Added, Draft, Job, JobError, Kept, Put, Replaced, View
from tocsin_server.domain.lease import (
    AttemptOutcome,
    Claim,
    Claimed,
    Ending,
    Extended,
    Extension,
    Finished,
    LostLease,
)
from tocsin_server.domain.logs import LogPage
from tocsin_server.domain.queues import QueueFigures, QueueSettings, Tick, WorkerFigures
from tocsin_server.store.encrypting.keyring import Key, LiveKeyring
from tocsin_server.store.encrypting.opening import Opener, as_it_stands
from tocsin_server.store.encrypting.record_sealer import KeyedRecordSealer
from tocsin_server.store.encrypting.schedules import EncryptingSchedules
from tocsin_server.store.encrypting.sealing import seal
from tocsin_server.store.encrypting.values import (
    NOTE,
    MadeIds,
    sealed_change,
    sealed_drafts,
    sealed_extension,
    sealed_job,
    sealed_outcome,
)
from tocsin_server.store.interface import Checked, JobStore, Note, StoredNote, StoreInfo, StoreUnfit, Wake
from tocsin_server.telemetry.round_trips import RoundTrips

_log: structlog.typing.FilteringBoundLogger = structlog.get_logger("tocsin.encryption")


class EncryptingStore(JobStore):
    """Keeps jobs sealed in another store, which must have been made to let encrypted ones be opened."""

    ids_tell_arrival = False

    def __init__(self, store: JobStore, keys: LiveKeyring) -> None:
        self.inner = store
        self.keys = keys
        self._marked = ""  # the key that the store says it was written with last
        self._ids = MadeIds()
        self._opener = Opener(keys)
        self.schedules = EncryptingSchedules(store.schedules, self._sealing_key, self._opener, self._ids)
        self.shared = store.shared
        self.calendars = store.calendars  # days off are nobody's secret
        self.dependencies = store.dependencies  # who waits for whom is told by names alone
        self.sealed = store.sealed
        self.record_sealer = KeyedRecordSealer(keys)
        self.manual_clock = store.manual_clock
        self.ticks_at_once = store.ticks_at_once

    async def open(self) -> None:
        await self.inner.open()
        marked = await self.sealed.key_id()
        if marked and self.keys.key(marked) is None:
            raise StoreUnfit(
                f"the store was last written with key {marked}, which is not in the key ring: its jobs would fail. Put "
                "that key back, or name the right file in encryption.keyring_file (docs/encryption.md)"
            )
        await self._sealing_key()

    async def _sealing_key(self) -> Key:
        """The key to write with. The store says of itself by which it is written before anything is."""
        key = self.keys.ring.primary
        if key.key_id != self._marked:
            await self.sealed.mark(key.key_id)
            self._marked = key.key_id
        return key

    async def close(self) -> None:
        await self.inner.close()

    async def ping(self) -> datetime:
        return await self.inner.ping()

    async def move_clock(self, to: datetime) -> datetime:
        return await self.inner.move_clock(to)

    async def info(self) -> StoreInfo:
        return await self.inner.info()

    @property
    def alarms(self) -> Sequence[str]:
        return self.inner.alarms

    @property
    def trips(self) -> RoundTrips:
        return self.inner.trips

    async def check_writes(self) -> None:
        await self.inner.check_writes()

    # --- scheduling and reading ---

    async def add(self, drafts: Sequence[Draft]) -> list[Added | TocsinError]:
        answers = await self.inner.add(sealed_drafts(await self._sealing_key(), drafts, self._ids))
        return self._all_added(answers)

    @property
    def claims_with_add(self) -> bool:  # type: ignore[override]  # as of the store inside
        return self.inner.claims_with_add

    async def add_and_claim(
        self, drafts: Sequence[Draft], types: Mapping[str, int], limit: int, *, lease: timedelta, request: bytes
    ) -> tuple[list[Added | TocsinError], Claim | TocsinError]:
        sealed = sealed_drafts(await self._sealing_key(), drafts, self._ids)
        answers, claim = await self.inner.add_and_claim(sealed, types, limit, lease=lease, request=request)
        added = self._all_added(answers)
        return added, claim if isinstance(claim, TocsinError) else await self._claimed(claim)

    def _all_added(self, answers: list[Added | TocsinError]) -> list[Added | TocsinError]:
        for at, answer in enumerate(answers):
            if isinstance(answer, Kept | Replaced):
                answers[at] = type(answer)(self._opener.job(answer.job))
        return answers

    async def get(self, queue: str, job_ids: Sequence[str], view: View) -> list[Job | None]:
        strict = view is View.FULL
        found = await self.inner.get(queue, job_ids, view)
        return [None if job is None else self._opener.job(job, strict=strict) for job in found]

    async def page(self, query: ListQuery) -> Page:
        page = await self.inner.page(query)
        strict = query.view is View.FULL
        return Page(tuple(self._opener.job(job, strict=strict) for job in page.jobs), page.next, page.total)

    async def put(self, jobs: Sequence[Job], *, over: bool) -> list[Put | TocsinError]:
        key = await self._sealing_key()
        sealed = [sealed_job(key, job) for job in jobs]
        return await self.inner.put(await self._compared(jobs, sealed) if over else sealed, over=over)

    async def _compared(self, jobs: Sequence[Job], sealed: Sequence[Job]) -> list[Job]:
        """What is to be placed over what stands: the store inside compares the two, byte for byte, in one step with
        placing. What stands is read before, for equal parts to be equal bytes; where it changes meanwhile, the store
        sees another job, and replaces it."""
        places: dict[str, list[int]] = {}
        for at, job in enumerate(jobs):
            places.setdefault(job.queue, []).append(at)
        found = list(sealed)
        for queue, of_queue in places.items():
            standing = await self.inner.get(queue, [jobs[at].job_id for at in of_queue], View.FULL)
            for at, stands in zip(of_queue, standing, strict=True):
                if stands is not None:
                    found[at] = self._like(sealed[at], jobs[at], stands)
        return found

    def _like(self, sealed: Job, job: Job, stands: Job) -> Job:
        try:
            return as_it_stands(sealed, job, stands, self._opener.job(stands, strict=True))
        except CannotDecrypt:
            return sealed

    # --- changing standing jobs ---

    async def cancel(self, queue: str, cancels: Sequence[CancelJob]) -> list[Job | TocsinError]:
        return self._jobs(await self.inner.cancel(queue, cancels))

    async def update(self, queue: str, changes: Sequence[Change]) -> list[Job | TocsinError]:
        key = await self._sealing_key()
        return self._jobs(await self.inner.update(queue, [sealed_change(key, queue, one) for one in changes]))

    def _jobs(self, answers: Sequence[Job | TocsinError]) -> list[Job | TocsinError]:
        return [answer if isinstance(answer, TocsinError) else self._opener.job(answer) for answer in answers]

    async def delete(self, queue: str, job_ids: Sequence[str], *, ended_only: bool = True) -> list[TocsinError | None]:
        return await self.inner.delete(queue, job_ids, ended_only=ended_only)

    # --- running ---

    async def claim(
        self,
        queue: str,
        types: Mapping[str, int],
        limit: int,
        *,
        lease: timedelta,
        request: bytes,
        repeated: bool = False,
    ) -> Claim:
        claim = await self.inner.claim(queue, types, limit, lease=lease, request=request, repeated=repeated)
        return await self._claimed(claim)

    async def _claimed(self, claim: Claim) -> Claim:
        """A claim of jobs that can be opened. Any other ends FAILED at once, and no handler sees it."""
        good: list[Claimed] = []
        bad: list[AttemptOutcome] = []
        for one in claim.claimed:
            try:
                good.append(Claimed(self._opener.job(one.job), one.lease))
            except CannotDecrypt as error:
                # These words are the server's own, and clear: whoever mends the ring must be able to read them.
                bad.append(AttemptOutcome(one.lease, Ending.FAILED, error=JobError(error.reason, str(error))))
                _log.error("job_cannot_be_decrypted", queue=one.lease.queue, job_id=one.lease.job_id, error=error.why)
        if bad:
            try:
                await self.inner.finish(bad)
            except TocsinError as error:
                # Their leases run out, and they are claimed again.
                _log.warning("jobs_not_ended", jobs=len(bad), error=str(error))
        return Claim(tuple(good), claim.now, more=claim.more or bool(bad)) if claim.claimed else claim

    async def promote(self, queue: str) -> bool:
        return await self.inner.promote(queue)

    async def extend(self, extensions: Sequence[Extension], lease: timedelta) -> list[Extended | TocsinError]:
        key = await self._sealing_key()
        return await self.inner.extend([sealed_extension(key, one) for one in extensions], lease)

    async def logs(self, queue: str, job_id: str, *, attempt: int = 0, cursor: str = "") -> LogPage | None:
        page = await self.inner.logs(queue, job_id, attempt=attempt, cursor=cursor)
        if page is None:
            return None
        return replace(page, lines=tuple(self._opener.line(queue, job_id, line) for line in page.lines))

    async def explain(self, queue: str, job_ids: Sequence[str]) -> list[Outlook | None]:
        found = await self.inner.explain(queue, job_ids)
        return [None if one is None else replace(one, job=self._opener.job(one.job)) for one in found]

    async def finish(self, outcomes: Sequence[AttemptOutcome]) -> list[Finished | TocsinError]:
        key = await self._sealing_key()
        return await self.inner.finish([sealed_outcome(key, outcome) for outcome in outcomes])

    async def reap(self, queue: str, limit: int = 100) -> list[LostLease]:
        return await self.inner.reap(queue, limit)

    async def trim(self, queue: str, *, completed_max: int, failed_max: int, limit: int = 100) -> int:
        return await self.inner.trim(queue, completed_max=completed_max, failed_max=failed_max, limit=limit)

    async def check(self) -> Checked:
        return await self.inner.check()

    # --- hearing ---

    async def ticks(self, queues: Sequence[str]) -> Mapping[str, Tick]:
        return await self.inner.ticks(queues)

    def wakes(self) -> AsyncIterator[Wake]:
        return self.inner.wakes()

    async def cursor(self, queue: str) -> str:
        return await self.inner.cursor(queue)

    async def events(self, queue: str, after: str, *, wait: timedelta, limit: int = 1000) -> EventBatch:
        batch = await self.inner.events(queue, after, wait=wait, limit=limit)
        events = tuple(Event(self._opener.job(event.job), event.deleted, event.cursor) for event in batch.events)
        return EventBatch(events, batch.cursor, batch.gap)

    # --- queues ---

    async def queues(self) -> list[str]:
        return await self.inner.queues()

    async def count_queues(self) -> int:
        return await self.inner.count_queues()

    async def many_figures(self, queues: Sequence[str]) -> list[QueueFigures]:
        return await self.inner.many_figures(queues)

    async def figures(self, queue: str) -> QueueFigures:
        return await self.inner.figures(queue)

    async def settings(self, queues: Sequence[str]) -> list[QueueSettings]:
        return await self.inner.settings(queues)

    async def put_settings(self, queue: str, settings: QueueSettings, *, paused: bool) -> QueueSettings:
        return await self.inner.put_settings(queue, settings, paused=paused)

    async def forget(self, queue: str, *, unused_for: timedelta | None = None) -> bool:
        return await self.inner.forget(queue, unused_for=unused_for)

    # --- notes ---

    async def read_note(self, queue: str, key: str) -> Note | None:
        note = await self.inner.read_note(queue, key)
        return None if note is None else Note(self._opener.bytes(NOTE, queue, key, note.value), note.revision)

    async def write_note(self, queue: str, key: str, value: bytes, *, revision: int, until: datetime) -> bool:
        sealed = seal(await self._sealing_key(), NOTE, queue, key, value)
        return await self.inner.write_note(queue, key, sealed, revision=revision, until=until)

    async def notes(self, queue: str, *, after: str = "", limit: int = 1000) -> list[StoredNote]:
        found = await self.inner.notes(queue, after=after, limit=limit)
        return [replace(note, value=self._opener.bytes(NOTE, queue, note.key, note.value)) for note in found]

    # --- workers ---

    async def announce(self, workers: Sequence[WorkerFigures], by: str, ttl: timedelta) -> None:
        await self.inner.announce(workers, by, ttl)

    async def workers(self) -> list[WorkerFigures]:
        return await self.inner.workers()
