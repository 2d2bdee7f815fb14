"""Running a bulk action, in steps that an attempt may be killed between or within."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tocsin_server.domain.bulk_actions import BulkFate, BulkOrder, BulkVerb
from tocsin_server.domain.errors import TocsinError
from tocsin_server.domain.filters import JobFilter, ListQuery, Position
from tocsin_server.domain.job import Job
from tocsin_server.operations.bulk_actions.acts import Acts, JobOutcome
from tocsin_server.operations.bulk_actions.changes import Changes, check_remembered, moment_of
from tocsin_server.operations.bulk_actions.moving import check_takes
from tocsin_server.operations.bulk_actions.state import ActionName, ActionNote, ActionState, InFlight
from tocsin_server.store.interface import JobStore

_TIDY_AT = 10_000  # changed jobs that are kept in mind before those behind are dropped

#: Hears how far it is after each step.
Tell = Callable[[ActionState], None]


class RunBulkActions:
    """Carries out bulk actions.

    Goes through what matches newest first, `step` jobs at a time: reads them, looks which have changed since the
    moment, notes what it is about to do, and does it. An attempt after one that died asks the note: jobs of the step
    that was begun are acted upon where they are still as they were. Each job is so acted upon once.
    """

    def __init__(self, store: JobStore, *, step: int = 200) -> None:
        self._store = store
        self._step = step

    async def run(self, order: BulkOrder, name: ActionName, tell: Tell, stopped: Callable[[], bool]) -> ActionState:
        """Go on with an action until it has come through, or `stopped` says so between two steps; how far it is then.

        BulkTokenStale where changes cannot be told any more; QueueDraining where it would begin to move jobs to a queue
        that takes none; OutrunAction where another attempt goes on with it. Raises what the store raises; then it can
        be run again.
        """
        note = ActionNote(self._store, name)
        state = await note.read()
        if state is None:
            state = await self._begun(order)
            await note.write(state)
        elif state.finished:
            return state
        run = _Run(self._store, self._step, order, note, state, name)
        await run.settle()
        tell(state)
        while not state.finished and not stopped():
            await run.advance()
            tell(state)
        if not state.finished:
            await note.write(state)
        return state

    async def _begun(self, order: BulkOrder) -> ActionState:
        moment = order.moment
        if order.act.verb is BulkVerb.MOVE:
            await check_takes(self._store, order.act.target)
        if moment is None:
            moment = await moment_of(self._store, order.queue)
        else:
            await check_remembered(self._store, order.queue, moment)
        matched = moment.matched
        if matched is None:
            matched = await counted(self._store, order.queue, order.filter)
        return ActionState(moment, position=moment.arrival + 1, matched=matched, cursor=moment.cursor)


async def counted(store: JobStore, queue: str, filter_: JobFilter) -> int | None:
    """How many jobs match, where the store's counters say so; None where only looking at them does."""
    if not filter_.counted:
        return None
    return (await store.page(ListQuery(queue, filter_, limit=1))).total


class _Run:
    """One attempt at one action."""

    def __init__(
        self, store: JobStore, step: int, order: BulkOrder, note: ActionNote, state: ActionState, name: ActionName
    ) -> None:
        self._store = store
        self._step = step
        self._order = order
        self._note = note
        self._state = state
        # The action's own job is never acted upon: it runs.
        self._spared = name.job_id if name.queue == order.queue else ""
        self._acts = Acts(store, order)
        self._changes = Changes(store, order.queue, state.moment, state.cursor, state.changed_ahead)

    async def settle(self) -> None:
        """See to the step that was begun by an attempt which did not end it. Nobody else can begin one from here on."""
        state = self._state
        if state.in_flight:
            await self._note.write(state)
            self._count(state.in_flight, await self._acts.settled(state.in_flight))

    async def advance(self) -> None:
        """One step more."""
        state, order = self._state, self._order
        if order.max_jobs is not None and state.done_jobs >= order.max_jobs:
            await self._finish()
            return
        query = ListQuery(order.queue, order.filter, limit=self._step, after=Position(state.position), with_total=False)
        page = await self._store.page(query)
        # What changes between this look at the log and the act is told by revision, or by its state.
        await self._changes.follow(state.position)
        wanted = self._step if order.max_jobs is None else order.max_jobs - state.done_jobs
        todo: list[Job] = []
        position = 0 if page.next is None else page.next.arrival
        for job in page.jobs:
            if len(todo) == wanted:
                position = todo[-1].arrival
                break
            if job.arrival in self._changes.arrivals:
                state.changed += 1
            elif job.job_id != self._spared:
                todo.append(job)
        state.position = position
        if len(self._changes.arrivals) > _TIDY_AT:
            self._changes.passed(position)
        if todo:
            state.in_flight = [InFlight.of(job) for job in todo]
            state.remember(self._changes.cursor, {one for one in self._changes.arrivals if one < position})
            await self._note.write(state)
            self._count(state.in_flight, await self._acts.on(state.in_flight))
        if position <= 1:
            await self._finish()

    async def _finish(self) -> None:
        state = self._state
        found = state.done_jobs + state.changed + state.refused
        if self._order.max_jobs is None and state.moment.matched is None:
            state.matched = found
        elif self._order.max_jobs is None and state.moment.matched is not None:
            # What matched at the moment, and does not any more, has changed, too.
            state.changed += max(0, state.moment.matched - found)
        state.finished = True
        await self._note.write(state)

    def _count(self, jobs: Sequence[InFlight], outcomes: Sequence[JobOutcome]) -> None:
        state = self._state
        state.in_flight = []
        for job, outcome in zip(jobs, outcomes, strict=True):
            if outcome is BulkFate.DONE:
                state.done[job.state, job.type] += 1
            elif outcome is BulkFate.CHANGED:
                state.changed += 1
            elif isinstance(outcome, TocsinError):
                state.refuse(job.job_id, outcome)
