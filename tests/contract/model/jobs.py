"""One queue as it should stand: its jobs, and what each verb does to them.

What is written here is what the specification says (store/interface.py, docs/unique-jobs.md, docs/limits.md), in the
plainest words that do; with nothing of a store's code. Times are those of the store's clock, as near as the driver
knows them; once a call is over, they become the exact ones that the store says (whole.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, fields, replace
from datetime import datetime, timedelta

from tocsin_server.domain import limits
from tocsin_server.domain.conditions import NO_CONDITIONS, Collapse, CollapseMode
from tocsin_server.domain.job import JobSpec
from tocsin_server.domain.states import ENDED, PENDING, State

SCHEDULED, BLOCKED, WAITING, ACTIVE = State.SCHEDULED, State.BLOCKED, State.WAITING, State.ACTIVE
COMPLETED, FAILED, CANCELLED = State.COMPLETED, State.FAILED, State.CANCELLED
NOTHING = timedelta(0)


@dataclass
class Asked:
    """A cancel."""

    reason: str
    by: str
    grace: timedelta
    ask: datetime
    delivered: bool = False
    obeyed: bool = False


#: Of a modelled job: what no reader of the job sees, and which one it is.
_NOT_SHOWN = {
    "name",
    "order",
    "placed",
    "lease",
    "lease_end",
    "changed",
    "keeps",
    "stray",
    "unsure",
    "unfiled",
    "undecided",
}


@dataclass
class Modelled:
    """One job."""

    name: str
    spec: JobSpec
    create: datetime
    due: datetime
    state: State = SCHEDULED
    order: int = 0  # its arrival number
    placed: bool = False  # whether the store has said that number
    attempt: int = 0
    failures: int = 0
    crashes: int = 0
    held: bool = False
    fired: bool = False
    start: datetime | None = None
    end: datetime | None = None
    errors: list[tuple[str, int]] = field(default_factory=list)  # type, attempt
    progress: tuple[float, str] | None = None
    result: bytes | None = None
    cancel: Asked | None = None
    lease_end: datetime | None = None
    lease: int | None = None  # the number of the lease that may still end, or that ended, its last attempt
    revision: int = 0  # as the store said last
    changed: bool = True  # since then
    keeps: bool = False  # its key's one place, for its retry
    stray: bool = False  # it runs, or ran last, by a lease that other limits let begin
    unsure: bool = False  # whether it keeps it: the limits have changed since
    unfiled: bool = False  # limits by key were set while it waited
    undecided: bool = False  # whether it was refused as it came

    @property
    def key(self) -> str:
        return self.spec.conditions.limit_key

    @property
    def pending(self) -> bool:
        return self.state in PENDING

    @property
    def ended(self) -> bool:
        return self.state in ENDED

    @property
    def row(self) -> tuple[str, str] | None:
        """Type and key of the jobs that it is one with."""
        collapse = self.spec.conditions.collapse
        return None if collapse is None else (self.spec.type, collapse.key)

    @property
    def begin_by(self) -> datetime | None:
        """When it expires."""
        expire = self.spec.conditions.expire
        if not self.pending or self.attempt or expire is None:
            return None
        return self.due + expire if isinstance(expire, timedelta) else expire

    @property
    def kept_until(self) -> datetime:
        """When an ended one is trimmed."""
        keep = self.spec.terms.retention
        assert self.end is not None
        return self.end + (keep.failed_for if self.state is FAILED else keep.completed_for)

    def shown(self) -> Sequence[object]:
        """All that a reader sees of it but its id and arrival."""
        return [getattr(self, one.name) for one in fields(self) if one.name not in _NOT_SHOWN]

    def went_wrong(self, kind: str) -> None:
        """Another error: the first and the last nine stay."""
        if len(self.errors) == limits.ERRORS_KEPT:
            del self.errors[1]
        self.errors.append((kind, self.attempt))


class Queue:
    """What stands in a queue without limits; Limited (limits.py) has those."""

    def __init__(self, now: datetime) -> None:
        self.now = now
        self.jobs: dict[str, Modelled] = {}
        self.last = 0  # arrival number
        self.schedules: dict[str, datetime] = {}  # when they are to be looked at next
        self.draining = False
        self.completed_max: int | None = None
        self.failed_max: int | None = None
        self.gone_completed: datetime | None = None  # the latest end of those that somebody deleted or replaced
        self.gone_failed: datetime | None = None

    # --- what a queue with limits does otherwise ---

    def judge(self, job: Modelled) -> None:
        """A job comes, due now."""

    def lets_go(self, job: Modelled) -> None:
        """Its limits are others, or it counts no more."""

    def keep_place(self, job: Modelled) -> None:
        """A job that is to run again may keep its key's place meanwhile."""

    # --- adding ---

    def add(self, name: str, spec: JobSpec, delay: timedelta, on: str, *, fired: bool = False) -> str:
        """What adding does, and to which job."""
        standing = self.jobs.get(name)
        if standing is not None and on == "KEEP":
            return f"Kept {name}"
        if standing is not None and on == "FAIL":
            return f"JobExists {standing.state.name}"
        if standing is not None and standing.state is ACTIVE:
            return "JobActive ACTIVE"
        due, blocked = self.now + delay, False
        collapse = spec.conditions.collapse
        if collapse is not None and standing is None:
            word, other, due, blocked = self._collapse(spec.type, collapse, due)
            if other is not None and word == "Replaced":
                self._become(other, spec, due, fired=fired)
            if other is not None:
                return f"{word} {other.name}"
        if self.draining and not (standing is not None and standing.pending):
            return "QueueDraining"
        if standing is not None and standing.pending:
            self._become(standing, spec, due, fired=fired)
            return f"Replaced {name}"
        if standing is not None:
            self._note_early(standing)
        job = Modelled(name, spec, self.now, due, fired=fired)
        job.revision = standing.revision if standing is not None else 0
        self.jobs[name] = job
        self.last = job.order = self.last + 1
        self._make_due(job, due)
        if blocked:
            job.state = BLOCKED
        elif job.state is WAITING:
            self.judge(job)
        return f"{'New' if standing is None else 'Replaced'} {name}"

    def _collapse(self, type_: str, collapse: Collapse, due: datetime) -> tuple[str, Modelled | None, datetime, bool]:
        """What becomes of a second job of a key: which one stands, when it is due, whether it waits for another."""
        row, mode = (type_, collapse.key), collapse.mode
        waits, blocked = self._newest(row, SCHEDULED, WAITING), self._newest(row, BLOCKED)
        runs = self._newest(row, ACTIVE)
        if mode in (CollapseMode.KEEP, CollapseMode.THROTTLE):
            stands = waits or blocked or runs
            if mode is CollapseMode.KEEP and stands is not None:
                return "Kept", stands, due, False
            made = [job for job in self.jobs.values() if job.row == row]
            latest = max(made, key=lambda job: (job.create, job.order), default=None)
            if latest is not None and latest.create + collapse.window > self.now:
                return "Kept", latest, due, False
            return "New", None, due, False
        if mode is CollapseMode.RUN_AGAIN_AFTER:
            stands = blocked or (waits if waits is not None and not waits.attempt else None)
            return "Replaced", stands, due, (waits or runs) is not None
        stands = waits or blocked
        if mode is CollapseMode.DEBOUNCE:
            due = self.now + collapse.window
            if stands is not None and collapse.max_wait is not None:
                due = max(self.now, min(due, stands.create + collapse.max_wait))
        return "Replaced", stands, due, False

    def _newest(self, row: tuple[str, str], *states: State) -> Modelled | None:
        """The job of a key that came last, of those in these states."""
        found = [job for job in self.jobs.values() if job.row == row and job.state in states]
        return max(found, key=lambda job: job.order, default=None)

    def _become(self, job: Modelled, spec: JobSpec, due: datetime, *, fired: bool) -> None:
        """A job that waits has a new spec and time."""
        row, key = job.row, job.key
        job.spec, job.fired, job.failures, job.crashes, job.errors = spec, fired, 0, 0, []
        job.cancel = job.result = job.progress = job.lease = None
        waits_on = job.state is BLOCKED and job.row == row
        if key != job.key:
            self.lets_go(job)
        job.unsure = job.keeps  # whether another spec keeps it, too, nothing says
        self._make_due(job, due)
        if waits_on:
            job.state = BLOCKED

    def _make_due(self, job: Modelled, due: datetime) -> None:
        job.due = max(due, self.now)
        job.state = SCHEDULED if due > self.now else WAITING
        job.changed = True

    def put(self, name: str, into: str, *, over: bool, arrival: int) -> str:
        """A job is placed just as another stands. arrival: free, or 0."""
        source, standing = self.jobs[name], self.jobs.get(into)
        if standing is not None and not over:
            return "KEPT"
        if standing is not None and standing.state is ACTIVE:
            return "JobActive ACTIVE"
        if standing is not None and not arrival and standing.shown() == source.shown():
            return "SAME"
        job = deepcopy(source)
        job.name, job.lease, job.changed, job.placed = into, None, False, False
        job.keeps = job.unsure = job.unfiled = False
        self.last = job.order = arrival or self.last + 1
        self.jobs[into] = job
        return "CREATED" if standing is None else "REPLACED"

    # --- ends ---

    def end(self, job: Modelled, state: State) -> None:
        """It ends."""
        job.state, job.end, job.held, job.lease_end, job.changed = state, self.now, False, None, True
        if state is CANCELLED and job.cancel is not None:
            job.cancel.obeyed = True
        self.lets_go(job)

    def _wait_again(self, job: Modelled) -> None:
        job.state, job.lease_end, job.changed = WAITING, None, True
        self.keep_place(job)

    def _crash(self, job: Modelled, kind: str, most: int) -> None:
        job.crashes += 1
        job.went_wrong(kind)
        if job.cancel is not None:
            self.end(job, CANCELLED)
        elif job.crashes >= most:
            job.went_wrong("POISON")
            self.end(job, FAILED)
        else:
            self._wait_again(job)

    def finish(self, name: str, lease: int, how: str, retry_in: timedelta | None) -> str:
        """An attempt's end is told."""
        job = self.jobs.get(name)
        if job is None or job.lease != lease:
            return "LeaseLost"
        if job.state is not ACTIVE:
            return f"repeated {job.state.name}"
        if how == "CRASHED":
            self._crash(job, "CHILD_DIED", limits.MAX_CRASHES)
            return job.state.name
        job.crashes = 0
        if how == "FAILED":
            job.failures += 1
            job.went_wrong("ValueError")
        if how == "COMPLETED":
            job.result = b"done"
            self.end(job, COMPLETED)
        elif job.cancel is not None:
            self.end(job, CANCELLED)
        elif how == "RELEASED":
            self._wait_again(job)
        elif retry_in is None:
            self.end(job, FAILED)
        else:
            job.lease_end = None
            self.keep_place(job)
            self._make_due(job, self.now + retry_in)
        return job.state.name

    def reap(self) -> dict[str, str]:
        """Leases that ran out are taken back; of which jobs, and what became of them."""
        lost = [job for job in self.jobs.values() if job.lease_end is not None and job.lease_end <= self.now]
        for job in lost:
            job.lease = None
            self._crash(job, "LEASE_EXPIRED", limits.MAX_LEASES_LOST)
        return {job.name: job.state.name for job in lost}

    def extend(self, name: str, lease: int, length: timedelta, progress: tuple[float, str] | None) -> str:
        """A lease goes on."""
        job = self.jobs.get(name)
        if job is None or job.lease != lease or job.state is not ACTIVE:
            return "LeaseLost"
        job.lease_end = self.now + length
        if progress is not None:
            job.progress, job.changed = progress, True
        if job.cancel is None:
            return "Extended"
        job.lease_end = min(job.lease_end, job.cancel.ask + job.cancel.grace)
        job.changed = job.changed or not job.cancel.delivered
        job.cancel.delivered = True
        return f"Extended {job.cancel.reason}"

    # --- verbs about one job ---

    def cancel(self, name: str, asked: Asked) -> str:
        """Somebody wants it to stop."""
        job = self.jobs.get(name)
        if job is None:
            return "JobNotFound"
        if job.state in (COMPLETED, FAILED):
            return f"WrongState {job.state.name}"
        if job.state is ACTIVE and job.cancel is None:
            self.ask_to_stop(job, asked)
        elif job.pending:
            job.cancel = asked
            self.end(job, CANCELLED)
        return f"Job {name}"

    def ask_to_stop(self, job: Modelled, asked: Asked) -> None:
        """Its attempt is asked to end."""
        assert job.lease_end is not None
        job.cancel, job.changed = asked, True
        job.lease_end = min(job.lease_end, self.now + asked.grace)

    def change(self, name: str, verb: str) -> str:
        """RunJob, RetryJob, HoldJob, ReleaseJob."""
        job = self.jobs.get(name)
        if job is None:
            return "JobNotFound"
        allowed = {
            "Run": {SCHEDULED, WAITING, ACTIVE},
            "Retry": {WAITING, ACTIVE, FAILED, CANCELLED},
            "Hold": PENDING,
            "Release": {*PENDING, ACTIVE},
        }[verb]
        if job.state not in allowed:
            return f"WrongState {job.state.name}"
        if verb == "Run" and job.state is SCHEDULED:
            self._make_due(job, self.now)
        elif verb == "Retry" and job.ended:
            self._retry(job)
        elif verb == "Hold" and not job.held:
            job.held = job.changed = True
        elif verb == "Release" and job.held:
            job.held, job.changed = False, True
            if job.state is not BLOCKED:
                job.state = SCHEDULED if job.due > self.now else WAITING
        return f"Job {name}"

    def _retry(self, job: Modelled) -> None:
        job.failures = job.crashes = 0
        job.cancel = job.result = job.progress = job.end = None
        if not job.attempt and job.spec.conditions.expire is not None:
            conditions = replace(job.spec.conditions, expire=None)
            job.spec = replace(job.spec, conditions=NO_CONDITIONS if conditions == NO_CONDITIONS else conditions)
        self._make_due(job, self.now)

    def update(self, name: str, *, delay: timedelta | None, right: bool, **spec: object) -> str:
        """UpdateJob. right: the revision that is asked for is the job's."""
        job = self.jobs.get(name)
        if job is None:
            return "JobNotFound"
        if not job.pending:
            return f"WrongState {job.state.name}"
        if not right:
            return "RevisionMismatch"
        job.spec, job.changed = replace(job.spec, **spec), True  # type: ignore[arg-type]
        if delay is not None and job.state is BLOCKED:
            job.due = self.now + delay
        elif delay is not None:
            self._make_due(job, self.now + delay)
        return f"Job {name}"

    def delete(self, name: str, *, ended_only: bool) -> str:
        """It goes."""
        job = self.jobs.get(name)
        if job is None:
            return "JobNotFound"
        if job.state is ACTIVE or (ended_only and not job.ended):
            return f"WrongState {job.state.name}"
        self._note_early(job)
        del self.jobs[name]
        return "gone"

    def _note_early(self, job: Modelled) -> None:
        if job.state is FAILED:
            self.gone_failed = max(filter(None, (self.gone_failed, job.end)))
        elif job.ended:
            self.gone_completed = max(filter(None, (self.gone_completed, job.end)))

    # --- what hangs on time ---

    def overdue(self) -> list[Modelled]:
        """SCHEDULED jobs whose time has come, and nobody has looked since; the earliest first."""
        found = [job for job in self.jobs.values() if job.state is SCHEDULED and job.due <= self.now and not job.held]
        return sorted(found, key=lambda job: (job.due, job.order))

    def promote(self) -> None:
        """They are WAITING now."""
        for job in self.overdue():
            job.state, job.changed = WAITING, True
            if not job.attempt:
                self.judge(job)

    def expired(self, job: Modelled) -> bool:
        """Whether its time is over, and nobody has ended it yet."""
        return job.begin_by is not None and job.begin_by <= self.now

    def expire(self, job: Modelled) -> None:
        """Somebody ends it."""
        job.cancel = Asked("EXPIRED", "", NOTHING, self.now)
        self.end(job, CANCELLED)

    def trim(self, completed_max: int, failed_max: int) -> int:
        """Jobs past their retention or too many go, and those that expired end; how many."""
        late = [job for job in self.jobs.values() if self.expired(job)]
        over = [job for job in self.jobs.values() if job.ended and job.kept_until <= self.now]
        for job in over:
            del self.jobs[job.name]
        for job in late:
            self.expire(job)
        count = len(late) + len(over)
        count += self._trim_by_count((COMPLETED, CANCELLED), self.completed_max, completed_max)
        return count + self._trim_by_count((FAILED,), self.failed_max, failed_max)

    def _trim_by_count(self, states: Iterable[State], own: int | None, most: int) -> int:
        found = [job for job in self.jobs.values() if job.state in states]
        found.sort(key=lambda job: (job.end, job.order))
        excess = max(0, len(found) - (most if own is None else own))
        spared = self.now - limits.SPARED_AFTER_END
        going = [job for job in found if job.end is not None and job.end <= spared][:excess]
        for job in going:
            del self.jobs[job.name]
        return len(going)

    def settle(self) -> None:
        """Jobs that wait for others of their key go where none runs or is to run any more."""
        for row in {job.row for job in self.jobs.values() if job.state is BLOCKED and job.row is not None}:
            if self._newest(row, SCHEDULED, WAITING, ACTIVE) is None:
                job = self._newest(row, BLOCKED)
                assert job is not None
                job.state, job.changed = (SCHEDULED if job.due > self.now else WAITING), True
