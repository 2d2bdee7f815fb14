"""A queue's settings: kept at hand for scheduling, and changed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from types import EllipsisType

from tocsin_server.domain import limits
from tocsin_server.domain.defaults import UNSET, JobDefaults
from tocsin_server.domain.errors import QueueInUse, QueueMoved, QuotaExceeded
from tocsin_server.domain.job import Put
from tocsin_server.domain.queue_limits import Limit
from tocsin_server.domain.queues import QueueSettings
from tocsin_server.domain.shared_limits import QueueShares
from tocsin_server.domain.states import State
from tocsin_server.operations import moves, schedule_moves
from tocsin_server.store.interface import JobStore

_SCHEDULES_NAMED = 10  # where a queue is not deleted for them
_TRIES, _PAUSE = 20, 0.05  # seconds; to delete a queue in which nothing stands that could be named


class QueueSettingsCache:
    """Settings of queues, at most `ttl` old, so that scheduling need not ask the store each time.

    `invalidate` makes the next `get` ask: whoever hears the store's wake-ups calls it when settings changed, so the
    ttl only covers a lost wake-up.
    """

    # Names come from callers, so their number is bounded: when it is reached, all are read anew.
    _MOST = 10_000

    def __init__(self, store: JobStore, *, ttl: timedelta = timedelta(seconds=1)) -> None:
        self._store = store
        self._ttl = ttl.total_seconds()
        self._kept: dict[str, tuple[float, asyncio.Task[QueueSettings]]] = {}
        self._renewing: dict[str, asyncio.Task[QueueSettings]] = {}

    async def get(self, queue: str) -> QueueSettings:
        """The queue's settings. Concurrent callers share one question to the store; StoreAway goes to each of them.

        In the second half of their time they are asked for beside whoever uses them: of a queue that is in use nobody
        waits for them."""
        now = asyncio.get_running_loop().time()
        kept = self._kept.get(queue)
        if kept is None or kept[0] <= now or (kept[1].done() and _failed(kept[1])):
            if len(self._kept) >= self._MOST:
                self._kept.clear()
            kept = self._kept[queue] = (now + self._ttl, asyncio.create_task(self._read(queue)))
            kept[1].add_done_callback(_failed)  # has been seen, also where all callers have left
        elif kept[0] - now < self._ttl / 2 and kept[1].done() and queue not in self._renewing:
            self._renew(queue, now)
        task = kept[1]
        # A caller that leaves must not take the answer from the others.
        return task.result() if task.done() else await asyncio.shield(task)

    def invalidate(self, queue: str) -> None:
        """Forget the queue's settings."""
        self._kept.pop(queue, None)
        self._renewing.pop(queue, None)  # it may have been answered before they changed

    def _renew(self, queue: str, now: float) -> None:
        def renewed(task: asyncio.Task[QueueSettings]) -> None:
            if self._renewing.get(queue) is task:
                del self._renewing[queue]
                if not _failed(task):
                    self._kept[queue] = (now + self._ttl, task)

        task = self._renewing[queue] = asyncio.create_task(self._read(queue))
        task.add_done_callback(renewed)

    async def _read(self, queue: str) -> QueueSettings:
        [settings] = await self._store.settings([queue])
        return settings


def _failed(task: asyncio.Task[QueueSettings]) -> bool:
    return task.cancelled() or task.exception() is not None


@dataclass(frozen=True, slots=True)
class QueueChange:
    """What to change of a queue's settings. None (of what may be None: ...) leaves what stands."""

    defaults: JobDefaults | None = None
    all_types: Mapping[str, JobDefaults] | None = None
    some_types: Mapping[str, JobDefaults] = field(default_factory=dict)  # after all_types; UNSET clears one
    completed_max: int | EllipsisType | None = ...
    failed_max: int | EllipsisType | None = ...
    limits: tuple[Limit, ...] | None = None
    fair_turns: bool | None = None
    priority_ageing: timedelta | EllipsisType | None = ...

    def of(self, settings: QueueSettings) -> QueueSettings:
        """The settings with this change. QuotaExceeded where too many types would have defaults."""
        types = dict(settings.type_defaults if self.all_types is None else self.all_types) | dict(self.some_types)
        types = {type_: defaults for type_, defaults in types.items() if defaults != UNSET}
        if len(types) > limits.TYPES_PER_QUEUE:
            raise QuotaExceeded("types with defaults", limits.TYPES_PER_QUEUE, "Clear those of types no longer used.")
        return replace(
            settings,
            defaults=settings.defaults if self.defaults is None else self.defaults,
            type_defaults=types,
            completed_max=settings.completed_max
            if isinstance(self.completed_max, EllipsisType)
            else self.completed_max,
            failed_max=settings.failed_max if isinstance(self.failed_max, EllipsisType) else self.failed_max,
            limits=settings.limits if self.limits is None else self.limits,
            fair_turns=settings.fair_turns if self.fair_turns is None else self.fair_turns,
            priority_ageing=settings.priority_ageing
            if isinstance(self.priority_ageing, EllipsisType)
            else self.priority_ageing,
        )


class Queues:
    """Pauses, resumes and configures queues.

    The store replaces settings as a whole, so changes take turns here; of two servers that change one
    queue in the same moment the later one wins.
    """

    def __init__(self, store: JobStore, settings: QueueSettingsCache) -> None:
        self._store = store
        self._settings = settings
        self._turn = asyncio.Lock()

    async def pause(self, queue: str, reason: str, until: datetime | None = None) -> QueueSettings:
        """No attempt begins from now on, `until` that time, or somebody resumes it. A paused queue stays as it is, its
        reason too, but for a new `until`."""

        def paused(settings: QueueSettings) -> tuple[QueueSettings, bool]:
            new = settings if settings.paused else replace(settings, pause_reason=reason)
            return new if until is None else replace(new, pause_until=until), True

        return await self._change(queue, paused)

    async def drain(self, queue: str) -> QueueSettings:
        """No new job is taken from now on; those that stand run. A queue that drains stays as it is."""
        return await self._change(queue, lambda settings: (replace(settings, draining=True), settings.paused))

    async def resume(self, queue: str, *, take_back: bool = False) -> QueueSettings:
        """Attempts begin again, and new jobs are taken. QueueMoved where it is paused for a move to another store, or
        from one: only who takes it back wants its jobs to run here, and its schedules to make some."""
        if not take_back:
            [settings] = await self._store.settings([queue])
            if (move := await moves.standing(self._store, queue, settings)) is not None:
                done = isinstance(move, moves.Leaving) and move.done_time is not None
                raise QueueMoved(queue, settings.pause_reason, done=done)
        else:
            await schedule_moves.take_back(self._store, queue)
        return await self._change(
            queue, lambda settings: (replace(settings, pause_reason="", pause_until=None, draining=False), False)
        )

    async def update(self, queue: str, change: QueueChange) -> QueueSettings:
        """Change a queue's settings; QuotaExceeded."""
        return await self._change(queue, lambda settings: (change.of(settings), settings.paused))

    async def delete(self, queue: str) -> None:
        """Forget a queue in which no job and no schedule stands; QueueInUse."""
        try:
            for _ in range(_TRIES):
                async with self._turn:
                    if await self._store.forget(queue):
                        return
                    figures = await self._store.figures(queue)
                    jobs = sum(figures.total(state) for state in State)
                    schedules = [] if jobs else await self._store.schedules.schedules(queue, limit=_SCHEDULES_NAMED)
                if jobs or schedules:
                    raise QueueInUse(queue, jobs, [one.spec.schedule_id for one in schedules])
                if shared := await self._store.shared.limits_of(queue):
                    raise QueueShares(queue, [one.limit.name for one in shared])
                # Jobs elsewhere are to hear of an end here, which takes a moment; or a job came and went meanwhile.
                await asyncio.sleep(_PAUSE)
            raise QueueInUse(queue, 1, [])
        finally:
            self._settings.invalidate(queue)

    async def place(self, queue: str, wanted: QueueSettings, *, over: bool) -> Put:
        """Give a queue the settings, and the pause, that it had in another store.

        Without `over` only where nothing but a pause is set. A pause that stands stays, with or without `over`, and one
        that is brought begins now. A queue that was never used appears.
        """
        try:
            async with self._turn:
                [old] = await self._store.settings([queue])
                has_settings = _settings_alone(old) != QueueSettings()
                takes = over or not has_settings
                paused = old.paused or (takes and wanted.paused)
                why = wanted.pause_reason if takes and wanted.paused and (over or not old.paused) else old.pause_reason
                until = wanted.pause_until if takes and wanted.paused and not old.paused else old.pause_until
                new = replace(
                    wanted if takes else old, paused_since=old.paused_since, pause_reason=why, pause_until=until
                )
                if (new, paused) == (old, old.paused):
                    like = _settings_alone(old) == _settings_alone(wanted) and (old.paused or not wanted.paused)
                    if has_settings or old.paused or queue in await self._store.queues():
                        return Put.SAME if like else Put.KEPT
                await self._store.put_settings(queue, new, paused=paused)
                return Put.REPLACED if has_settings else Put.CREATED
        finally:
            self._settings.invalidate(queue)

    async def _change(self, queue: str, change: Callable[[QueueSettings], tuple[QueueSettings, bool]]) -> QueueSettings:
        try:
            async with self._turn:
                [old] = await self._store.settings([queue])
                new, paused = change(old)
                if (new, paused) == (old, old.paused):
                    return old
                return await self._store.put_settings(queue, new, paused=paused)
        finally:
            self._settings.invalidate(queue)


def _settings_alone(settings: QueueSettings) -> QueueSettings:
    """Without the pause."""
    return replace(settings, paused_since=None, pause_reason="", pause_until=None)
