"""What a bulk action remembers between its steps: a note beside the jobs of the queue that its own job stands in.

It is written before each step, by compare and swap: so the next attempt, on whatever server, knows what was under way,
and one that was outrun meanwhile cannot begin a step any more.
"""

from __future__ import annotations

import json
import zlib
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from tocsin_server.domain.bulk_actions import MAX_REFUSALS, ActionMoment, RefusedJob
from tocsin_server.domain.errors import TocsinError
from tocsin_server.domain.job import Job
from tocsin_server.domain.states import State
from tocsin_server.domain.times import time_to_ms, to_time
from tocsin_server.store.interface import JobStore

_KEPT_FOR = timedelta(days=30)  # since the attempt began; longer than any action's job waits to be tried again
_MOST_CHANGED = 2_000  # arrivals that are kept in it; with more it keeps the place in the log from which to read anew


class OutrunAction(Exception):
    """Another attempt goes on with this action."""


class ActionName(NamedTuple):
    """The job that an action is."""

    queue: str
    job_id: str
    create_time: datetime  # tells it from one that had the id before


class InFlight(NamedTuple):
    """A job of the step that was begun, as it stood before."""

    job_id: str
    revision: int
    state: State
    type: str
    due: datetime

    @classmethod
    def of(cls, job: Job) -> InFlight:
        """What is remembered of a job."""
        return cls(job.job_id, job.revision, job.state, job.spec.type, job.schedule_time)


@dataclass(slots=True)
class ActionState:
    """How far an action is. `position`: jobs from this arrival on are behind it, but for those in flight."""

    moment: ActionMoment
    position: int
    done: Counter[tuple[State, str]] = field(default_factory=Counter)  # by state before, and type
    changed: int = 0
    refused: int = 0
    refusals: list[RefusedJob] = field(default_factory=list)  # the first of them
    in_flight: list[InFlight] = field(default_factory=list)
    matched: int | None = None
    finished: bool = False
    # A place in the log of changes, and which jobs ahead had changed by then.
    cursor: str = ""
    changed_ahead: set[int] = field(default_factory=set)

    @property
    def done_jobs(self) -> int:
        """Jobs that were acted upon."""
        return self.done.total()

    def refuse(self, job_id: str, error: TocsinError) -> None:
        """One job could not be acted upon."""
        self.refused += 1
        if len(self.refusals) < MAX_REFUSALS:
            self.refusals.append(RefusedJob(job_id, error.reason, str(error)))

    def remember(self, cursor: str, changed_ahead: set[int]) -> None:
        """How much of the log was read. Where too many changed to be noted, the earlier place stays."""
        if len(changed_ahead) <= _MOST_CHANGED:
            self.cursor, self.changed_ahead = cursor, set(changed_ahead)


class ActionNote:
    """Where the state of one action is kept, for one attempt."""

    def __init__(self, store: JobStore, name: ActionName) -> None:
        self._store = store
        self._name = name
        self._revision = 0
        self._until: datetime | None = None

    async def read(self) -> ActionState | None:
        """What an earlier attempt has left; None where this is the first."""
        note = await self._store.read_note(self._name.queue, _key(self._name.job_id))
        self._revision = 0 if note is None else note.revision
        return None if note is None else _read(note.value, self._name.create_time)

    async def write(self, state: ActionState) -> None:
        """Keep it. OutrunAction where somebody else has written since."""
        if self._until is None:
            self._until = await self._store.ping() + _KEPT_FOR
        value = _written(state, self._name.create_time)
        queue, key = self._name.queue, _key(self._name.job_id)
        if not await self._store.write_note(queue, key, value, revision=self._revision, until=self._until):
            raise OutrunAction(self._name.job_id)
        self._revision += 1


async def state_of(store: JobStore, job: Job) -> ActionState | None:
    """How far the action is that this job is; None where it has not begun."""
    note = await store.read_note(job.queue, _key(job.job_id))
    return None if note is None else _read(note.value, job.create_time)


def _key(job_id: str) -> str:
    return f"bulk:{job_id}"


def _written(state: ActionState, create_time: datetime) -> bytes:
    moment = state.moment
    said: dict[str, Any] = {
        "of": time_to_ms(create_time),
        "moment": [time_to_ms(moment.time), moment.arrival, moment.cursor, moment.matched],
        "position": state.position,
        "done": [[int(state_), type_, jobs] for (state_, type_), jobs in state.done.items()],
        "changed": state.changed,
        "refused": state.refused,
        "refusals": [[one.job_id, one.reason, one.message] for one in state.refusals],
        "flight": [
            [one.job_id, one.revision, int(one.state), one.type, time_to_ms(one.due)] for one in state.in_flight
        ],
        "matched": state.matched,
        "finished": state.finished,
        "cursor": state.cursor,
        "ahead": sorted(state.changed_ahead),
    }
    return zlib.compress(json.dumps(said, separators=(",", ":")).encode(), level=1)


def _read(value: bytes, create_time: datetime) -> ActionState | None:
    said = json.loads(zlib.decompress(value))
    if said["of"] != time_to_ms(create_time):
        return None  # of another job that stood under this id
    time, arrival, cursor, matched = said["moment"]
    return ActionState(
        moment=ActionMoment(to_time(time), arrival, cursor, matched),
        position=said["position"],
        done=Counter({(State(state), type_): jobs for state, type_, jobs in said["done"]}),
        changed=said["changed"],
        refused=said["refused"],
        refusals=[RefusedJob(*one) for one in said["refusals"]],
        in_flight=[
            InFlight(id_, rev, State(state), type_, to_time(due)) for id_, rev, state, type_, due in said["flight"]
        ],
        matched=said["matched"],
        finished=said["finished"],
        cursor=said["cursor"],
        changed_ahead=set(said["ahead"]),
    )
