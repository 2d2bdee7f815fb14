"""Scheduling jobs: defaults filled in, concurrent calls gathered into one store call."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from datetime import timedelta
from operator import attrgetter

from tocsin_server.background import Unbroken
from tocsin_server.domain.defaults import SERVER_DEFAULTS, UNSET, JobDefaults, JobRequest, terms
from tocsin_server.domain.errors import TocsinError
from tocsin_server.domain.job import Added, Draft, Terms
from tocsin_server.domain.queues import QueueSettings
from tocsin_server.operations.gathering import CancelledUnsent, Gathering
from tocsin_server.operations.leasing.riding import MOST_RIDING, Ride
from tocsin_server.operations.schedule_dependents import Scheduled, ScheduleDependents
from tocsin_server.store.interface import JobStore
from tocsin_server.telemetry import job_log

__all__ = ["CancelledUnsent", "ScheduleJobs", "Scheduled"]

_NOW = timedelta(0)
_MOST_TERMS = 1_000  # that are remembered; queues and types are named by callers
_NO_TERMS = (None, None)
# What makes a request one for ScheduleDependents.
_PARENTS, _ON_END = attrgetter("parents"), attrgetter("on_end")


class ScheduleJobs:
    """Adds jobs to the store. Calls of one job are gathered (gathering.py); calls of several have company enough and go
    by themselves. A store call is not cancelled with its callers."""

    def __init__(
        self,
        store: JobStore,
        settings_of: Callable[[str], Awaitable[QueueSettings]],
        *,
        server_defaults: JobDefaults = SERVER_DEFAULTS,
        linger: timedelta = timedelta(milliseconds=3),
        flush_jobs: int = 1000,
    ) -> None:
        self._store = store
        self._settings_of = settings_of
        self._server_defaults = server_defaults
        #: Asked for a claim to go with jobs that are due at once; None: nobody runs jobs here.
        self.ride: Callable[[str, Mapping[str, int]], Awaitable[Ride | None]] | None = None
        self._gathering = Gathering[Draft, Added | TocsinError](self._add, linger, flush_jobs)
        self._unbroken = Unbroken()
        self._dependents = ScheduleDependents(store, self.draft)
        # Terms of jobs that ask for nothing of their own, by queue and type, with the settings that they follow from.
        # Jobs that share them are stored and answered sooner.
        self._common: dict[tuple[str, str], tuple[QueueSettings, Terms]] = {}

    async def schedule(self, requests: Sequence[JobRequest], places: Sequence[int] | None = None) -> list[Scheduled]:
        """Add jobs; each with its draft, in the order asked: as `JobStore.add` says. `places`: of each in its batch, by
        which others of that wait for it.

        Queues may stand on several servers: jobs of one that is away are refused for themselves, unless there are no
        others. Raises what the store raises. CancelledUnsent where the caller is cancelled and nothing was sent for it.
        """
        if any(map(_PARENTS, requests)) or any(map(_ON_END, requests)):  # each job of each batch passes here
            return await self._unbroken.run(self._dependents.schedule(requests, places))
        try:
            settings = await self._settings({request.queue for request in requests})
        except asyncio.CancelledError as error:
            raise CancelledUnsent from error
        drafts = list(self._drafts(requests, settings))
        if len(drafts) == 1:
            added = [await self._gathering.send(drafts[0].spec.queue, drafts[0])]
        else:
            added = await self._unbroken.run(self._store.add(drafts))
            job_log.scheduled(drafts, added)
        done: list[Scheduled] = [
            answer if isinstance(answer, TocsinError) else (draft, answer)
            for draft, answer in zip(drafts, added, strict=True)
        ]
        if len(done) == len(requests):
            return done
        answers = iter(done)
        away = {queue: answer for queue, answer in settings.items() if isinstance(answer, TocsinError)}
        return [away.get(request.queue) or next(answers) for request in requests]

    async def draft(self, request: JobRequest) -> Draft:
        """The job as it would be added now, its gaps filled."""
        [draft] = self._drafts([request], {request.queue: await self._settings_of(request.queue)})
        return draft

    async def close(self) -> None:
        """Wait until all store calls have ended."""
        await self._unbroken.close()
        await self._gathering.close()

    async def _add(self, queue: str, drafts: Sequence[Draft]) -> Sequence[Added | TocsinError]:
        ride = None
        if self.ride is not None and len(drafts) <= MOST_RIDING and all(draft.when == _NOW for draft in drafts):
            ride = await self.ride(queue, Counter(draft.spec.type for draft in drafts))

        def tell(added: Sequence[Added | TocsinError]) -> None:
            job_log.scheduled(drafts, added)

        if ride is not None:
            return await ride.add(drafts, tell)
        added = await self._store.add(drafts)
        tell(added)
        return added

    async def _settings(self, queues: Collection[str]) -> dict[str, QueueSettings | TocsinError]:
        """Of each queue, or why they cannot be had; raises that where there are none at all."""
        settings: dict[str, QueueSettings | TocsinError] = {}
        for queue in queues:
            try:
                settings[queue] = await self._settings_of(queue)
            except TocsinError as error:
                settings[queue] = error
        if settings and all(isinstance(answer, TocsinError) for answer in settings.values()):
            raise next(answer for answer in settings.values() if isinstance(answer, TocsinError))
        return settings

    def _drafts(
        self, requests: Sequence[JobRequest], settings: Mapping[str, QueueSettings | TocsinError]
    ) -> Iterator[Draft]:
        """The jobs to add, but for those of a queue whose settings cannot be had."""
        for request in requests:
            of_queue = settings[request.queue]
            if isinstance(of_queue, TocsinError):
                continue
            if request.overrides is not UNSET:
                yield request.draft(terms(request.overrides, self._below(of_queue, request.type)))
                continue
            key = request.queue, request.type
            of_settings, shared = self._common.get(key, _NO_TERMS)
            if of_settings is not of_queue or shared is None:
                if len(self._common) >= _MOST_TERMS:
                    self._common.clear()
                shared = terms(UNSET, self._below(of_queue, request.type))
                self._common[key] = of_queue, shared
            yield request.draft(shared)

    def _below(self, settings: QueueSettings, type_: str) -> JobDefaults:
        """What holds where a job of the type has no word of its own."""
        below = self._server_defaults
        if settings.defaults != UNSET:
            below = settings.defaults.over(below)
        if of_type := settings.type_defaults.get(type_):
            below = of_type.over(below)
        return below
