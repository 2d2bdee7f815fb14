"""A queue as it should stand that has limits, turns of keys and pauses: which jobs may begin."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from datetime import datetime, timedelta

from tocsin_server.domain.queue_limits import LIMIT_FULL, Limit, LimitScope, OnFull

from contract.model.jobs import ACTIVE, CANCELLED, SCHEDULED, WAITING, Asked, Modelled, Queue

GRACE = timedelta(seconds=30)


@dataclass
class Bucket:
    """What a rate has let begin."""

    full: datetime  # when as many may begin at once as at first
    halted: datetime  # before it none begins


@dataclass(frozen=True)
class Began:
    """A job that a claim brought."""

    name: str
    lease: int
    start: datetime


class Limited(Queue):
    """All that stands in a queue."""

    def __init__(self, now: datetime) -> None:
        super().__init__(now)
        self.limits: tuple[Limit, ...] = ()
        self.fair = False
        self.ageing: timedelta | None = None  # a job gains one priority for each such time since it was due
        self.had_keys = False  # jobs may stand in rows of their keys, though nothing asks for it any more
        self.paused = False
        self.pause_until: datetime | None = None
        self.buckets: dict[tuple[str, str], Bucket] = {}
        self.asked_one_of: list[
            tuple[list[str], Asked, str]
        ] = []  # the store says which; "" or who came, if that may wait
        self.turns: dict[str, dict[str, int]] = {}  # of keys that wait: how many turns each other one has had since

    # --- settings ---

    def set(
        self,
        limits: Sequence[Limit],
        *,
        fair: bool,
        ageing: timedelta | None,
        paused: bool,
        pause_until: datetime | None,
        draining: bool,
    ) -> None:
        """Other settings."""
        if (self.limits, self.fair) != (tuple(limits), fair):
            for job in self.jobs.values():
                job.unsure = job.unsure or job.keeps
                job.stray = job.stray or job.state is ACTIVE
            self.turns = {}
        before = self.by_key
        self.limits, self.fair, self.paused, self.draining = tuple(limits), fair, paused, draining
        self.ageing = ageing
        self.pause_until = pause_until if paused else None
        self.had_keys = self.had_keys or self.by_key
        for job in self.jobs.values():
            job.unfiled = job.state is WAITING and (job.unfiled or not before) and self.by_key

    @property
    def is_paused(self) -> bool:
        """Now."""
        return self.paused and (self.pause_until is None or self.pause_until > self.now)

    @property
    def by_key(self) -> bool:
        """Whether each key's jobs stand in rows of their own."""
        return self.fair or any(limit.scope is LimitScope.KEY for limit in self.limits)

    # --- places and rates ---

    def covering(self, job: Modelled) -> list[Limit]:
        """The limits that count it."""
        return [limit for limit in self.limits if limit.covers(job.spec.type, job.key)]

    def holders(self, limit: Limit, key: str) -> list[Modelled]:
        """Who has a place of it: who runs, and of one by key who waits for a retry that keeps it."""
        by_key = limit.scope is LimitScope.KEY
        return [
            job
            for job in self.jobs.values()
            if limit.covers(job.spec.type, job.key)
            and (not by_key or job.key == key)
            and (job.state is ACTIVE or (by_key and job.keeps))
        ]

    def bucket(self, limit: Limit, key: str) -> Bucket:
        """What it has let begin, as of now."""
        of = (limit.name, key if limit.scope is LimitScope.KEY else "")
        found = self.buckets.setdefault(of, Bucket(self.now, self.now))
        found.full = max(found.full, self.now)
        return found

    def hindrance(self, job: Modelled) -> Limit | None:
        """The first limit that has no room for a job."""
        for limit in self.covering(job):
            own_place = job.keeps and limit.scope is LimitScope.KEY
            in_its_way = [one for one in self.holders(limit, job.key) if one.state is ACTIVE or not own_place]
            if limit.max_active is not None and len(in_its_way) >= limit.max_active:
                return limit
            bucket = self.bucket(limit, job.key)
            if bucket.halted > self.now:
                return limit
            if limit.rate is not None:
                each = limit.rate.per / limit.rate.jobs
                if math.floor((self.now + limit.rate.burst * each - bucket.full) / each + 0.0001) < 1:
                    return limit
        return None

    def keep_place(self, job: Modelled) -> None:
        job.keeps = any(limit.scope is LimitScope.KEY and limit.max_active == 1 for limit in self.covering(job))
        # Where more may run than limits allow now, none of them keeps it, but for the last.
        job.unsure = job.keeps and any(one.stray for one in self.jobs.values() if one.key == job.key)

    def lets_go(self, job: Modelled) -> None:
        job.keeps = job.unsure = job.stray = False

    def halt(self, name: str, limit: str, span: timedelta) -> None:
        """A job that failed says that a limit is to let nothing begin for a while."""
        job = self.jobs[name]
        for one in self.covering(job):
            if one.name == limit:
                bucket = self.bucket(one, job.key)
                bucket.halted = max(bucket.halted, self.now + span)

    # --- claims ---

    def claim(self, types: Mapping[str, int], most: int, began: Sequence[Began], length: timedelta) -> None:
        """What a claim brought, which must be what it may bring. Due jobs are WAITING then."""
        self.promote()
        open_ = [(job.name, word) for job in self.jobs.values() for word in OPEN if getattr(job, word)]
        guesses, why = list[Limited](), AssertionError()
        for guess in itertools.product((False, True), repeat=len(open_)):
            one = deepcopy(self) if open_ else self
            for (name, word), yes in zip(open_, guess, strict=True):
                one.decide(one.jobs[name], word, yes=yes)
            try:
                one._take(types, most, began, length)
            except AssertionError as error:
                why = error
            else:
                guesses.append(one)
        if not guesses:
            raise why
        self.__dict__ = guesses[0].__dict__
        for name, word in open_:  # what more than one of them would explain stays open
            job = self.jobs[name]
            setattr(job, word, job.pending and len({_answer(one.jobs[name], word) for one in guesses}) > 1)

    def decide(self, job: Modelled, word: str, *, yes: bool) -> None:
        """What was open of a job."""
        setattr(job, word, False)
        if word == "unsure":
            job.keeps = yes
        elif yes:
            self.refuse(job)

    def _take(self, types: Mapping[str, int], most: int, began: Sequence[Began], length: timedelta) -> None:
        left = dict(types)
        for one in began:
            self.now = max(self.now, one.start)
            allowed = self._next(left)
            names = [job.name for job in allowed]
            assert one.name in names, f"{one.name} began, where {names or 'none'} may"
            assert len(began) <= most
            job = self.jobs[one.name]
            left[job.spec.type] -= 1
            self._count_turn(job, allowed)
            self._begin(job, one, length)
        if len(began) < most:
            names = [job.name for job in self._next(left)]
            assert not names, f"no more began, where {names} may"

    def _next(self, left: Mapping[str, int]) -> list[Modelled]:
        """Jobs of which one begins next: where keys take turns, the first of each; else the first of all."""
        if self.is_paused:
            return []
        by_key = self.by_key
        rows: dict[tuple[str, str], list[Modelled]] = {}
        for job in self.jobs.values():
            if job.state is WAITING and not job.held and not self.expired(job) and left.get(job.spec.type, 0) > 0:
                rows.setdefault((job.spec.type, job.key if by_key else ""), []).append(job)
        heads = []
        for row in rows.values():
            row.sort(key=lambda job: (by_key and not job.keeps, *self.best_first(job)))
            if self.hindrance(row[0]) is None:
                heads.append(row[0])
            elif not by_key:  # those behind it may be of a key that no limit counts, or of which none is asked
                heads += [job for job in row if self.hindrance(job) is None][:1]
        heads.sort(key=self.best_first)
        return heads if self.fair else heads[:1]

    def best_first(self, job: Modelled) -> tuple[object, datetime, int]:
        """In which order jobs are claimed."""
        if self.ageing is None:
            return -job.spec.priority, job.due, job.order
        return job.due - job.spec.priority * self.ageing, job.due, job.order

    def _begin(self, job: Modelled, one: Began, length: timedelta) -> None:
        for limit in self.covering(job):
            if limit.rate is not None:
                self.bucket(limit, job.key).full += limit.rate.per / limit.rate.jobs
        job.state, job.attempt, job.start, job.lease = ACTIVE, job.attempt + 1, one.start, one.lease
        job.lease_end, job.progress, job.changed = one.start + length, None, True
        job.keeps = job.unsure = job.stray = False

    def _count_turn(self, job: Modelled, allowed: Sequence[Modelled]) -> None:
        """Where keys take turns, who waits sees each other key at most as often as its weight."""
        if not self.fair:
            return
        self.turns.pop(job.key, None)
        for other in {one.key for one in allowed} - {job.key}:
            seen = self.turns.setdefault(other, {})
            seen[job.key] = seen.get(job.key, 0) + 1
            weight = job.spec.conditions.weight
            assert seen[job.key] <= weight + (weight > 1), f"{job.key!r} has {seen[job.key]} turns, {other!r} waits"

    # --- jobs that a full limit does not let wait ---

    def judge(self, job: Modelled) -> None:
        strict = [one for one in self.covering(job) if one.on_full is not OnFull.WAIT and one.max_active is not None]
        full = []
        for limit in strict:
            assert limit.max_active is not None
            sure, perhaps = self._size(limit, job)
            if limit.on_full is OnFull.CANCEL_NEW and sure >= limit.max_active:
                self.refuse(job)
                return
            job.undecided = job.undecided or perhaps >= limit.max_active > sure
            if perhaps >= limit.max_active:
                full.append(limit)
        for limit in full:
            if limit.on_full is OnFull.CANCEL_RUNNING:
                self._ask_oldest(limit, job)

    def refuse(self, job: Modelled) -> None:
        """It ends as it comes."""
        job.cancel, job.undecided = Asked(LIMIT_FULL, "", timedelta(0), self.now), False
        self.end(job, CANCELLED)

    def _size(self, limit: Limit, job: Modelled) -> tuple[int, int]:
        """How many run or wait under it beside a job, at least and at most. Of those that are held a limit by key
        counts none; those that waited when it was set it counts once claims have come to them."""
        by_key = limit.scope is LimitScope.KEY
        holders = self.holders(limit, job.key)
        waiting = [
            one
            for one in self.jobs.values()
            if one is not job
            and one.state is WAITING
            and one not in holders
            and limit.covers(one.spec.type, one.key)
            and not (by_key and (one.held or one.key != job.key))
        ]
        sure = sum(not (by_key and one.unfiled) for one in waiting)
        sure += sum(one.state is ACTIVE or not one.unsure for one in holders)
        return sure, len(holders) + len(waiting)

    def _ask_oldest(self, limit: Limit, comer: Modelled) -> None:
        running = [job for job in self.holders(limit, comer.key) if job.state is ACTIVE and job.cancel is None]
        for names, _, _ in self.asked_one_of:
            if sum(names == others for others, _, _ in self.asked_one_of) == len(names):  # that is each of them
                running = [job for job in running if job.name not in names]
        first = min((job.start for job in running if job.start is not None), default=None)
        oldest = [job.name for job in running if job.start == first]
        asked = Asked(LIMIT_FULL, "", GRACE, self.now)
        if len(oldest) == 1 and not comer.undecided:
            self.ask_to_stop(self.jobs[oldest[0]], asked)
        elif oldest:
            self.asked_one_of.append((oldest, asked, comer.name if comer.undecided else ""))


#: What may be open of a job.
OPEN = ("unsure", "undecided")


def _answer(job: Modelled, word: str) -> object:
    return job.keeps if word == "unsure" else job.state


def claimable(job: Modelled, now: datetime) -> bool:
    """Whether it is due, in an open queue without limits."""
    due = job.state is WAITING or (job.state is SCHEDULED and job.due <= now)
    return due and not job.held
