"""Calls as plain data: each is made on a store and on the model, and what they say is the same.

They print as the code that makes them, so a sequence can be pasted into a test. Times are minutes from now. What stands
in a call never depends on what a store answered: so a sequence is still one where calls are left out of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields, replace
from datetime import datetime, timedelta
from typing import ClassVar

from tocsin_server.domain.commands import HoldJob, ReleaseJob, RetryJob, RunJob, UpdateJob
from tocsin_server.domain.conditions import NO_CONDITIONS, Collapse, CollapseMode, Conditions
from tocsin_server.domain.errors import TocsinError
from tocsin_server.domain.job import Draft, Job, JobError, JobSpec, Kept, New, OnConflict, Payload, Replaced, Retention
from tocsin_server.domain.lease import AttemptOutcome, Claimed, Ending, Extended, Extension, Lease, LimitPause
from tocsin_server.domain.queue_limits import Limit, LimitScope, OnFull, Rate
from tocsin_server.domain.queues import QueueSettings
from tocsin_server.store.interface import JobStore

from contract.builders import MINUTE, RAW, a_request, a_spec, wish
from contract.model.jobs import ACTIVE, Asked
from contract.model.limits import Began, Limited
from contract.model.whole import compare_lists, near, same

#: What is never held: no lease bears this number.
NO_LEASE = -1
#: Of what few are asked to make: the share of turns of a key.
WEIGHTS: Mapping[str, int] = {"": 1, "x": 1, "y": 3}
MANY = 1_000_000
ERRORS = {"FAILED": JobError("ValueError", "no", "line 1"), "CRASHED": JobError("CHILD_DIED", "exit status 9")}
COMMANDS: Mapping[str, type[RunJob] | type[RetryJob] | type[HoldJob] | type[ReleaseJob]] = {
    "Run": RunJob,
    "Retry": RetryJob,
    "Hold": HoldJob,
    "Release": ReleaseJob,
}


@dataclass
class Both:
    """A queue of a store, and the model of it."""

    store: JobStore
    queue: str
    model: Limited
    ids: dict[str, str] = field(default_factory=dict)  # of jobs whose ids the store made, by their names here
    leases: list[Claimed] = field(default_factory=list)
    last_claim: tuple[bytes, int] | None = None  # its request, and how many leases there were before it
    answers: dict[str, Job] = field(default_factory=dict)  # jobs as a call that is not held against the whole yet said

    def id_of(self, name: str) -> str:
        return self.ids.get(name, name)

    @property
    def called(self) -> Mapping[str, str]:
        """Names by ids."""
        return {job_id: name for name, job_id in self.ids.items()}

    def name_of(self, job_id: str) -> str:
        return self.called.get(job_id, job_id)

    def word(self, answer: object) -> str:
        """What an answer says, in a word that the model says, too."""
        if isinstance(answer, TocsinError):
            state = getattr(answer, "state", None)
            return type(answer).__name__ + (f" {state.name}" if state is not None else "")
        if answer is None:
            return "gone"
        if isinstance(answer, New):
            return f"New {self.name_of(answer.job_id)}"
        if isinstance(answer, Replaced | Kept):
            self.answers[answer.job.job_id] = answer.job
            return f"{type(answer).__name__} {self.name_of(answer.job.job_id)}"
        assert isinstance(answer, Job), answer
        self.answers[answer.job_id] = answer
        return f"Job {self.name_of(answer.job_id)}"

    def lease_of(self, name: str, back: int) -> tuple[Lease, int]:
        """One of a job's leases, the last one or one so many before it; and its number."""
        of_job = [one for one in self.leases if self.name_of(one.job.job_id) == name]
        if len(of_job) <= back:
            return Lease(self.queue, self.id_of(name), 1, bytes(14)), NO_LEASE
        lease = of_job[-1 - back].lease
        return lease, next(at for at, one in enumerate(self.leases) if one.lease.token == lease.token)

    def number_of(self, one: Claimed) -> int:
        """Which lease it is. A claim that is repeated when what it brought has ended may bring it again, by one
        token."""
        self.leases.append(one)
        return next(at for at, other in enumerate(self.leases) if other.lease.token == one.lease.token)


class Plain:
    """Prints as the code that makes it, with the words that are not as they are by default."""

    def __repr__(self) -> str:
        words = []
        for one in fields(self):  # type: ignore[arg-type]
            value = getattr(self, one.name)
            if one.default is MISSING and not one.kw_only:
                words.append(", ".join(map(repr, value)) if one.name == "items" else repr(value))
            elif value != one.default:
                words.append(f"{one.name}={value!r}")
        return f"{type(self).__name__}({', '.join(words)})"


class Call(Plain):
    """One call."""

    async def on(self, both: Both) -> None:
        """Make it on the store and on the model, and compare the answers."""
        raise NotImplementedError


def a_payload(size: int) -> Payload:
    """Of so many bytes; one of another size has others."""
    return Payload(RAW, bytes([size % 256]) * size)


# --- adding ---


@dataclass(frozen=True, repr=False)
class Wanted(Plain):
    """A job to be added; times are minutes."""

    name: str
    type: str = "t"
    on: str = "FAIL"
    made: bool = False  # the store makes its id
    delay: int = 0
    priority: int = 0
    tag: str = ""
    body: int = 0  # bytes
    key: str = ""
    keep: int = 5 * 60 + 33
    collapse: str = ""
    mode: str = ""
    window: int = 0
    max_wait: int | None = None
    expire: int | None = None  # after it is due
    expire_at: int | None = None  # from now

    def spec(self, queue: str, now: datetime) -> JobSpec:
        """What is asked for, at a time."""
        collapse = None
        if self.mode:
            longest = None if self.max_wait is None else self.max_wait * MINUTE
            collapse = Collapse(self.collapse, CollapseMode[self.mode], self.window * MINUTE, longest)
        expire: datetime | timedelta | None = None if self.expire is None else self.expire * MINUTE
        if self.expire_at is not None:
            expire = now.replace(microsecond=0) + self.expire_at * MINUTE
        conditions = Conditions(self.key, WEIGHTS[self.key], collapse=collapse, expire=expire)
        keep = Retention(self.keep * MINUTE, 2 * self.keep * MINUTE)
        return a_spec(
            queue=queue,
            type=self.type,
            priority=self.priority,
            tags={"k": self.tag} if self.tag else {},
            payload=a_payload(self.body) if self.body else None,
            retention=keep,
            conditions=NO_CONDITIONS if conditions == NO_CONDITIONS else conditions,
        )


@dataclass(frozen=True, repr=False)
class Add(Call):
    """JobStore.add."""

    items: tuple[Wanted, ...]

    def __init__(self, *items: Wanted) -> None:
        object.__setattr__(self, "items", items)

    async def on(self, both: Both) -> None:
        model, drafts = both.model, []
        for one in self.items:
            spec, job_id = one.spec(both.queue, model.now), None if one.made else both.id_of(one.name)
            drafts.append(Draft(spec, job_id, one.delay * MINUTE, OnConflict[one.on]))
        answers = await both.store.add(drafts)
        for one, draft, answer in zip(self.items, drafts, answers, strict=True):
            if one.made and isinstance(answer, New):
                both.ids[one.name] = answer.job_id
            expected = model.add(one.name, draft.spec, one.delay * MINUTE, one.on)
            same(f"adding {one}", both.word(answer), expected)
            if isinstance(answer, New):
                job = model.jobs[one.name]
                if not job.undecided:
                    same(f"the state of {one.name}", answer.state, job.state)
        if len(self.items) > 1:  # what one did, others of the call may have changed again
            both.answers.clear()


# --- verbs about one job ---


@dataclass(frozen=True, repr=False)
class Cancel(Call):
    """JobStore.cancel."""

    name: str
    grace: int = 6

    async def on(self, both: Both) -> None:
        grace = self.grace * MINUTE
        [answer] = await both.store.cancel(both.queue, [wish(both.id_of(self.name), grace=grace)])
        same("cancel", both.word(answer), both.model.cancel(self.name, Asked("moved", "ada", grace, both.model.now)))


@dataclass(frozen=True, repr=False)
class Do(Call):
    """RunJob, RetryJob, HoldJob, ReleaseJob."""

    verb: str
    name: str

    async def on(self, both: Both) -> None:
        [answer] = await both.store.update(both.queue, [COMMANDS[self.verb](both.id_of(self.name))])
        same(self.verb, both.word(answer), both.model.change(self.name, self.verb))


@dataclass(frozen=True, repr=False)
class Update(Call):
    """UpdateJob."""

    name: str
    delay: int | None = None
    priority: int | None = None
    tag: str | None = None
    body: int | None = None
    wrong_revision: bool = False

    async def on(self, both: Both) -> None:
        spec: dict[str, object] = {}
        job = both.model.jobs.get(self.name)
        if self.priority is not None:
            spec["priority"] = self.priority
        if self.body is not None:
            spec["payload"] = a_payload(self.body)
        if self.tag is not None:
            spec["tags"] = {"k": self.tag}
        delay = None if self.delay is None else self.delay * MINUTE
        revision = None if job is None else job.revision + self.wrong_revision
        terms = job.spec.terms if job is not None and self.tag is not None else None
        if job is None:  # terms go with tags, and nothing is known of its own
            spec.pop("tags", None)
        change = UpdateJob(both.id_of(self.name), when=delay, revision=revision, terms=terms, **spec)  # type: ignore[arg-type]
        [answer] = await both.store.update(both.queue, [change])
        expected = both.model.update(self.name, delay=delay, right=not self.wrong_revision, **spec)
        same("update", both.word(answer), expected)


@dataclass(frozen=True, repr=False)
class Delete(Call):
    """JobStore.delete."""

    name: str
    ended_only: bool = True

    async def on(self, both: Both) -> None:
        [answer] = await both.store.delete(both.queue, [both.id_of(self.name)], ended_only=self.ended_only)
        same("delete", both.word(answer), both.model.delete(self.name, ended_only=self.ended_only))


# --- running ---


@dataclass(frozen=True, repr=False)
class Claim(Call):
    """JobStore.claim, again and again until it brings no more."""

    types: Mapping[str, int] = field(default_factory=lambda: {"t": 9, "u": 9})
    most: int = 9
    lease: int = 11
    again: bool = False  # as if the answer of the last one had been lost

    def __repr__(self) -> str:
        words = [f"{dict(self.types)!r}", f"{self.most}", f"{self.lease}"]
        return f"Claim({', '.join(words + ['again=True'] * self.again)})"

    async def on(self, both: Both) -> None:
        if self.again and both.last_claim is not None:
            request, since = both.last_claim
            claim = await both.store.claim(
                both.queue, self.types, self.most, lease=self.lease * MINUTE, request=request, repeated=True
            )
            had = [number for number in range(since, len(both.leases)) if self._stands(both, number)]
            if had:
                said = sorted(both.name_of(one.job.job_id) for one in claim.claimed)
                same("a repeated claim", said, sorted(both.name_of(both.leases[number].job.job_id) for number in had))
                return
            await self._go_on(both, list(claim.claimed), more=claim.more)
            return
        await self._go_on(both, [], more=True)

    def _stands(self, both: Both, number: int) -> bool:
        job = both.model.jobs.get(both.name_of(both.leases[number].job.job_id))
        return job is not None and job.state is ACTIVE and job.lease == number

    async def _go_on(self, both: Both, found: list[Claimed], *, more: bool) -> None:
        left = dict(self.types)
        for one in found:
            left[one.job.spec.type] -= 1
        while more and len(found) < self.most:
            request = a_request()
            both.last_claim = request, len(both.leases) + len(found)
            claim = await both.store.claim(
                both.queue, left, self.most - len(found), lease=self.lease * MINUTE, request=request
            )
            found += claim.claimed
            for one in claim.claimed:
                left[one.job.spec.type] -= 1
            more = claim.more
        began = []
        for one in found:
            assert one.job.start_time is not None
            began.append(Began(both.name_of(one.job.job_id), both.number_of(one), one.job.start_time))
        both.model.claim(self.types, self.most, began, self.lease * MINUTE)
        for one in found:
            same("the attempt", one.lease.attempt, both.model.jobs[both.name_of(one.job.job_id)].attempt)


@dataclass(frozen=True, repr=False)
class Finish(Call):
    """JobStore.finish, of a job's last lease or of one before."""

    name: str
    how: str = "COMPLETED"
    retry: int | None = None
    back: int = 0
    pause: str = ""  # a limit

    async def on(self, both: Both) -> None:
        lease, number = both.lease_of(self.name, self.back)
        retry = None if self.retry is None else self.retry * MINUTE
        outcome = _outcome(lease, self.how, retry)
        if self.pause:
            outcome = replace(outcome, pause=LimitPause(self.pause, 47 * MINUTE))
        [answer] = await both.store.finish([outcome])
        expected = both.model.finish(self.name, number, self.how, retry)
        recorded = expected != "LeaseLost" and not expected.startswith("repeated")
        if self.pause and recorded:
            both.model.halt(self.name, self.pause, 47 * MINUTE)
        if isinstance(answer, TocsinError):
            same("finish", type(answer).__name__, expected)
        else:
            same("finish", "repeated " * answer.repeated + answer.state.name, expected)


def _outcome(lease: Lease, how: str, retry: timedelta | None) -> AttemptOutcome:
    result = b"done" if how == "COMPLETED" else None
    return AttemptOutcome(lease, Ending[how], result, ERRORS.get(how), retry if how == "FAILED" else None)


@dataclass(frozen=True, repr=False)
class Extend(Call):
    """JobStore.extend."""

    name: str
    lease: int = 11
    progress: float | None = None
    back: int = 0

    async def on(self, both: Both) -> None:
        lease, number = both.lease_of(self.name, self.back)
        progress = None if self.progress is None else (self.progress, "going")
        [answer] = await both.store.extend([Extension(lease, progress)], self.lease * MINUTE)
        expected = both.model.extend(self.name, number, self.lease * MINUTE, progress)
        if isinstance(answer, Extended):
            same("extend", f"Extended {answer.cancel_reason or ''}".strip(), expected)
            near("the lease's end", answer.lease_end, both.model.jobs[self.name].lease_end)
        else:
            same("extend", type(answer).__name__, expected)


@dataclass(frozen=True, repr=False)
class Reap(Call):
    """JobStore.reap."""

    async def on(self, both: Both) -> None:
        lost = {both.name_of(one.job_id): one.state.name for one in await both.store.reap(both.queue)}
        same("reap", lost, both.model.reap())


@dataclass(frozen=True, repr=False)
class Promote(Call):
    """JobStore.promote."""

    async def on(self, both: Both) -> None:
        assert not await both.store.promote(both.queue)
        both.model.promote()


@dataclass(frozen=True, repr=False)
class Trim(Call):
    """JobStore.trim."""

    completed_max: int = MANY
    failed_max: int = MANY

    async def on(self, both: Both) -> None:
        said = await both.store.trim(both.queue, completed_max=self.completed_max, failed_max=self.failed_max)
        same("trim", said, both.model.trim(self.completed_max, self.failed_max))


@dataclass(frozen=True, repr=False)
class Pass(Call):
    """Hours go by."""

    hours: int = 1
    HOUR: ClassVar[timedelta] = 60 * MINUTE

    async def on(self, both: Both) -> None:
        now = await both.store.ping()
        both.model.now = await both.store.move_clock(now + self.hours * self.HOUR)


# --- the queue ---

#: Limits by name; a name always means the same one. Rates are such that none comes free just as an hour is over.
LIMITS: Mapping[str, Limit] = {
    one.name: one
    for one in (
        Limit("three", LimitScope.QUEUE, max_active=3),
        Limit("two of t", LimitScope.TYPE, "t", max_active=2),
        Limit("one a key", LimitScope.KEY, max_active=1),
        Limit("two a key", LimitScope.KEY, max_active=2),
        Limit("one u a key", LimitScope.KEY, "u", max_active=1),
        Limit("slow", LimitScope.QUEUE, rate=Rate(1, 97 * MINUTE, burst=2)),
        Limit("slow key", LimitScope.KEY, rate=Rate(1, 131 * MINUTE)),
        Limit("new go", LimitScope.TYPE, "u", max_active=2, on_full=OnFull.CANCEL_NEW),
        Limit("new go a key", LimitScope.KEY, max_active=2, on_full=OnFull.CANCEL_NEW),
        Limit("old go", LimitScope.QUEUE, max_active=3, on_full=OnFull.CANCEL_RUNNING),
    )
}


@dataclass(frozen=True, repr=False)
class Set(Call):
    """JobStore.put_settings."""

    limits: Sequence[str] = ()
    fair: bool = False
    pause: int | None = None  # minutes; 0: until it is resumed
    drain: bool = False
    completed_max: int | None = None
    failed_max: int | None = None

    async def on(self, both: Both) -> None:
        limits = tuple(LIMITS[name] for name in self.limits)
        until = both.model.now + self.pause * MINUTE if self.pause else None
        settings = QueueSettings(
            completed_max=self.completed_max,
            failed_max=self.failed_max,
            draining=self.drain,
            limits=limits,
            fair_turns=self.fair,
            pause_until=until,
        )
        said = await both.store.put_settings(both.queue, settings, paused=self.pause is not None)
        both.model.set(limits, fair=self.fair, paused=self.pause is not None, pause_until=until, draining=self.drain)
        both.model.completed_max, both.model.failed_max = self.completed_max, self.failed_max
        [read] = await both.store.settings([both.queue])
        same("settings", read, said)
        same("paused", read.paused, both.model.is_paused)


@dataclass(frozen=True, repr=False)
class Look(Call):
    """JobStore.page, by states, types and tag."""

    states: Sequence[str] = ()
    types: str = ""
    tag: str = ""

    async def on(self, both: Both) -> None:
        await compare_lists(both.store, both.queue, both.model, both.called, self.states, self.types, self.tag)
