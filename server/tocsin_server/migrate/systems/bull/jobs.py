"""From a job's record and the list where it stands to the job that it becomes, where Bull and BullMQ agree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from tocsin_server.domain import limits
from tocsin_server.domain.defaults import SERVER_DEFAULTS
from tocsin_server.domain.job import Job, JobSpec, Retention, Terms
from tocsin_server.domain.schedules.standing import Schedule
from tocsin_server.domain.states import ENDED, State
from tocsin_server.migrate.systems.bull import names
from tocsin_server.migrate.systems.bull.dialect import Dialect
from tocsin_server.migrate.systems.bull.history import history_of
from tocsin_server.migrate.systems.bull.json_text import Unfit, payload_of, time_of
from tocsin_server.migrate.systems.bull.order import LOWERED, RAISED, PriorityOf, WaitingLine
from tocsin_server.migrate.systems.bull.record import Record
from tocsin_server.migrate.systems.bull.source import Id
from tocsin_server.migrate.systems.bull.terms import retention_of, retry_of, timeout_of
from tocsin_server.migrate.systems.foreign import Foreign, Verdict

NO_TIME = "the time at which it was made cannot be read; now stands in its place"
LONG_AGO = "it ended more than ten years ago, or when cannot be read; now stands in its place"
NOT_HELD_BACK = (
    "new jobs with its deduplication id are not held back here: schedule them under a job_id of their own, with KEEP"
)
ITS_PARENT = "it is the child of a flow; flows are not taken over, so its parent will not hear of it"
REPEATED = "it was made by what repeats, and is a job of its own here"
NO_NAME = "its type is {kind!r}, after its queue, as it has no name"
OTHER_QUEUE = "its queue is {queue!r}, as the name of its own cannot be one here"
OTHER_TYPE = "its type is {kind!r}, as its name cannot be one here"
BUILT_IN_TYPE = "its type is {kind!r}: its name is that of a built-in type, which takes a message of its own"
OTHER_ID = "its id is another here, as its own cannot be one"
ACTIVE_LEFT = "a worker runs it: stop the old workers, and take it with --take-active"
COMPLETED_LEFT = "it is done; --take-completed takes it"
TOO_FAR = "it is to run after the year 9999"
LOGS = "its log lines are not taken over"

# The score of a delayed job: its time in milliseconds times this, and a number that tells equal times apart.
PER_MS = 4096


@dataclass(frozen=True, slots=True)
class Place:
    """Where a job stands in its source, and what that makes of it here."""

    state: State
    priority: int
    due: datetime
    ended: datetime | None = None  # as its place says; the record may know better
    running: bool = False
    failure: str | None = None  # what its next attempt would have failed with
    whys: tuple[str, ...] = ()


class Places:
    """Of one queue's jobs, read in the order in which they would run. `now` is when that is."""

    def __init__(self, now: datetime, priority_of: PriorityOf) -> None:
        self.now = now
        self.line = WaitingLine()
        self.priority_of = priority_of

    def in_line(self, record: Record, own: int, wanted: int, *, running: bool = False) -> Place:
        """One that waits, or a worker has: `own` is its priority, `wanted` that of its place."""
        taken = self.line.priority(wanted)
        whys = (RAISED,) if taken > own else (LOWERED,) if taken < own else ()
        due = self.line.due(self.due_since(record, running=running))
        return Place(State.WAITING, taken, due, running=running, whys=whys)

    def delayed(self, one: Id, record: Record) -> Place:
        """One that is due later, or was due and would come to the end of the list now."""
        ms = one[1] // PER_MS
        priority = self.priority_of(record.priority)
        if ms <= 0:
            return Place(State.WAITING, priority, self.line.last(self.due_since(record)))
        due = time_of(ms)
        if due is None:
            raise Unfit(TOO_FAR)
        if due <= self.now:
            return Place(State.WAITING, priority, self.line.last(due))
        return Place(State.SCHEDULED, priority, due)

    def failed(self, one: Id, record: Record) -> Place:
        """One that has failed for good."""
        return self._ended(State.FAILED, one, record)

    def completed(self, one: Id, record: Record) -> Place:
        """One that is done."""
        return self._ended(State.COMPLETED, one, record)

    def due_since(self, record: Record, *, running: bool = False) -> datetime:
        """When it became due, as far as its record knows. One that waits was begun by an attempt that is over."""
        created = record.created or self.now
        left = (self.now - created) / timedelta(milliseconds=1)
        due = created + timedelta(milliseconds=record.delay) if record.delay < left else self.now
        return min(due if running else max(due, record.begun or due), self.now)

    def _ended(self, state: State, one: Id, record: Record) -> Place:
        return Place(state, self.priority_of(record.priority), self.due_since(record), ended=time_of(one[1]))


def logs_beside(root: bytes, one: Id, record: Record) -> Sequence[tuple[bytes, str]]:
    """Only what has run has log lines."""
    return [(root + one[0] + b":logs", LOGS)] if record.begun else []


class Maker:
    """Makes the jobs of one queue. `now` is what counts as now. `unnamed` is the type of jobs without a name."""

    def __init__(self, dialect: Dialect, queue: bytes, now: datetime) -> None:
        self._dialect = dialect
        self.system = dialect.system
        self._shown = names.shown(queue)
        self.queue = names.queue_name(queue)
        self.unnamed = names.unnamed_type(queue, taken=False)
        self._now = now

    def make(self, raw_id: bytes, word: str, record: Record, place: Place, beside: Sequence[str]) -> Foreign:
        """The job. Unfit where its data cannot be taken.

        word: the source's own for its state. beside: what is lost of it that its record does not know.
        """
        whys = [*place.whys, *record.whys, *beside]
        if self.queue != self._shown:
            whys.append(OTHER_QUEUE.format(queue=self.queue))
        job_id = names.job_id(raw_id)
        if job_id.encode() != raw_id:
            whys.append(OTHER_ID)
        job = self._job(job_id, self.spec(record, place.priority, whys), record, place, whys)
        if place.state not in ENDED:
            whys += [NOT_HELD_BACK] * bool(record.deduplication)
            whys += [ITS_PARENT] * record.has_parent
            whys += [REPEATED] * bool(record.scheduler)
        verdict = Verdict.CHANGED if whys else Verdict.TAKEN
        return Foreign(self._shown, names.shown_id(raw_id), word, verdict, tuple(whys), job, made=record.created)

    def not_taken(self, raw_id: bytes, word: str, verdict: Verdict, why: str) -> Foreign:
        """A thing that is left or refused."""
        return Foreign(self._shown, names.shown_id(raw_id), word, verdict, (why,))

    def repeating(self, raw_id: bytes, word: str, schedule: Schedule, whys: Sequence[str]) -> Foreign:
        """A rule that becomes a schedule."""
        verdict = Verdict.CHANGED if whys else Verdict.TAKEN
        return Foreign(self._shown, names.shown_id(raw_id), word, verdict, tuple(whys), schedule=schedule)

    def spec(self, record: Record, priority: int, whys: list[str]) -> JobSpec:
        """What it runs, and how. Unfit where its data cannot be taken."""
        payload, why = payload_of(record.data)
        whys += [why] if why else []
        return JobSpec(
            queue=self.queue,
            type=self._type(record.name, whys),
            payload=payload,
            priority=priority,
            terms=Terms(
                retry=retry_of(record.options, self._dialect, whys),
                timeout=timeout_of(record.options, self._dialect, whys),
                retention=retention_of(record.options, whys),
            ),
        )

    def _type(self, name: bytes, whys: list[str]) -> str:
        if not name:
            whys.append(NO_NAME.format(kind=self.unnamed))
            return self.unnamed
        kind = names.type_name(name)
        if kind.encode() != name:
            why = BUILT_IN_TYPE if name.decode(errors="replace") in names.BUILT_IN else OTHER_TYPE
            whys.append(why.format(kind=kind))
        return kind

    def _job(self, job_id: str, spec: JobSpec, record: Record, place: Place, whys: list[str]) -> Job:
        created = record.created or self._now
        if record.created is None:
            whys.append(NO_TIME)
        ended = None
        if place.state in ENDED:
            ended = record.ended or place.ended
            spec, ended = self._kept(spec, ended, whys)
        history = history_of(
            record if place.failure is None else replace(record, reason=place.failure),
            place.state,
            self._dialect,
            running=place.running,
            created=created,
            ended=ended,
            whys=whys,
        )
        return Job(
            job_id=job_id,
            spec=spec,
            state=place.state,
            create_time=created,
            schedule_time=place.due,
            start_time=record.begun,
            end_time=ended,
            attempt=history.attempt,
            failures=history.failures,
            crashes=0,
            revision=1,
            arrival=0,
            errors=history.errors,
            progress=history.progress,
            result=history.result,
        )

    def _kept(self, spec: JobSpec, ended: datetime | None, whys: list[str]) -> tuple[JobSpec, datetime]:
        """An ended job is kept as if it ended now, lest it be trimmed as it arrives."""
        if ended is None or self._now - ended > limits.MAX_RETENTION:
            whys.append(LONG_AGO)
            ended = self._now
        age = max(self._now - ended, timedelta(0))
        own = spec.terms.retention
        # One that stands although it was to go as it ended (0) was wanted by somebody.
        completed_for = (own.completed_for or SERVER_DEFAULTS.completed_for or timedelta(0)) + age
        failed_for = (own.failed_for or SERVER_DEFAULTS.failed_for or timedelta(0)) + age
        most = limits.MAX_RETENTION
        retention = Retention(min(completed_for, most), min(failed_for, most))
        return replace(spec, terms=replace(spec.terms, retention=retention)), ended
