"""Calls as plain data: each is made on a store and on the model, and what they say is the same.

They print as the code that makes them, so a sequence can be pasted into a test. Times are minutes from now. What stands
in a call never depends on what a store answered: so a sequence is still one where calls are left out of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from datetime import datetime, timedelta

from tocsin_server.domain.commands import HoldJob, ReleaseJob, RetryJob, RunJob, UpdateJob
from tocsin_server.domain.conditions import NO_CONDITIONS, Collapse, CollapseMode, Conditions
from tocsin_server.domain.errors import TocsinError
from tocsin_server.domain.job import (
    Added,
    Draft,
    Job,
    JobError,
    JobSpec,
    Kept,
    New,
    OnConflict,
    Payload,
    Replaced,
    Retention,
)
from tocsin_server.domain.lease import Claimed, Lease
from tocsin_server.store.interface import JobStore

from contract.builders import MINUTE, RAW, a_spec, wish
from contract.model.jobs import Asked
from contract.model.limits import Limited
from contract.model.whole import same

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
    stand: Mapping[str, Job] = field(default_factory=dict)  # jobs by id, as they stood before the call
    cursor: str = ""  # of changes that were looked at
    contents: Callable[[], Mapping[bytes, bytes]] = dict  # all that the provider holds

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
        drafts = self.drafts(both)
        self.told(both, drafts, await both.store.add(drafts))

    def drafts(self, both: Both) -> list[Draft]:
        """What a store is asked for."""
        return [
            Draft(
                one.spec(both.queue, both.model.now),
                None if one.made else both.id_of(one.name),
                one.delay * MINUTE,
                OnConflict[one.on],
            )
            for one in self.items
        ]

    def told(self, both: Both, drafts: Sequence[Draft], answers: Sequence[Added | TocsinError]) -> None:
        """Do the same on the model, and compare what was done."""
        for one, draft, answer in zip(self.items, drafts, answers, strict=True):
            if one.made and isinstance(answer, New):
                both.ids[one.name] = answer.job_id
            expected = both.model.add(one.name, draft.spec, one.delay * MINUTE, one.on)
            same(f"adding {one}", both.word(answer), expected)
            job = both.model.jobs.get(one.name)
            if isinstance(answer, New) and job is not None and not job.undecided:
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
