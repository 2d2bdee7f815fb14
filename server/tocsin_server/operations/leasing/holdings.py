"""Who holds which attempts in this process, so that a cancel finds those who may run what it asks to stop."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import islice

from tocsin_server.domain.lease import Claimed, Lease
from tocsin_server.domain.queues import HeldJob
from tocsin_server.domain.retry import RetryPolicy
from tocsin_server.operations.wakeups import Wakeups
from tocsin_server.telemetry import job_log
from tocsin_server.telemetry.metrics import Metrics

# A loop that gave no sign for longer, in seconds, will give none: its leases must run out, so that others run the jobs.
_LONGEST_BUSY = 300.0

#: Seconds for which a cancel's message is remembered: it may overtake the answer to the claim of its job.
_REMEMBERED, _MOST_CANCELS = 1.0, 1000

#: Attempts named of a worker.
HELD_NAMED = 100


@dataclass(slots=True)
class Held:
    """What is needed of a job until its attempt has ended; its payload is not."""

    lease: Lease
    type: str
    retry: RetryPolicy | None  # None: it came from elsewhere, and so it is not known here
    failures: int
    since: float  # time.monotonic() when it was leased, or came
    renewed: float  # time.monotonic() when its lease was granted or extended last, by whomever
    heard: float  # the same, by a heartbeat
    stopping: bool = False  # who runs it was told to stop

    @property
    def seconds(self) -> float:
        """For how long it has been held."""
        return time.monotonic() - self.since


def named(held: Iterable[Held]) -> tuple[HeldJob, ...]:
    """What servers tell each other of these: the first HELD_NAMED."""
    return tuple(
        HeldJob(one.lease.queue, one.lease.job_id, one.type, one.lease.attempt) for one in islice(held, HELD_NAMED)
    )


class Holdings:
    """All that is held here. Subscribes to `wakeups`, so make it before that is started.

    metrics: counts what begins."""

    def __init__(self, wakeups: Wakeups, metrics: Metrics | None = None) -> None:
        self.metrics = metrics
        self._holders: defaultdict[str, set[Holder]] = defaultdict(set)  # by queue
        self._owners: dict[tuple[str, bytes], Holder] = {}  # by queue and token: each is held by one alone
        self._cancels: dict[str, float] = {}  # by queue: when one was last asked of a job that runs somewhere
        wakeups.on_cancel(self._hear_cancel)
        wakeups.on_moved(self._hear_moved)

    def holder(self, cancel_asked: Callable[[str], None] = lambda queue: None) -> Holder:
        """Someone who holds attempts. `cancel_asked` is called with a queue of which it holds some, where a cancel was
        asked of a running job there: maybe of one of those."""
        return Holder(self, cancel_asked)

    def _hear_cancel(self, queue: str) -> None:
        # The message does not say which job; most are of jobs that run elsewhere.
        for holder in list(self._holders.get(queue, ())):
            holder.cancel_asked(queue)
        if len(self._cancels) >= _MOST_CANCELS:
            self._cancels.clear()
        self._cancels[queue] = time.monotonic()

    def _hear_moved(self) -> None:
        # What runs is alive, however far the store's clock was moved: its leases are extended at once.
        for queue, holders in list(self._holders.items()):
            for holder in list(holders):
                holder.cancel_asked(queue)

    def owner(self, lease: Lease) -> Holder | None:
        """Who holds the attempt; None: nobody here."""
        return self._owners.get((lease.queue, lease.token))

    def own(self, key: tuple[str, bytes], holder: Holder) -> None:
        """The holder has the attempt of this queue and token; who had it has it no more."""
        before = self._owners.get(key)
        if before is not None:
            before.forget(*key)
        self._owners[key] = holder

    def disown(self, key: tuple[str, bytes]) -> None:
        """Nobody holds it."""
        self._owners.pop(key, None)

    def held(self, queue: str, holder: Holder, now: float) -> None:
        """The holder has more of the queue."""
        self._holders[queue].add(holder)
        if now - self._cancels.get(queue, -_REMEMBERED) < _REMEMBERED:
            holder.cancel_asked(queue)

    def left(self, queue: str, holder: Holder) -> None:
        """The holder has none of the queue any more."""
        holders = self._holders.get(queue)
        if holders is not None:
            holders.discard(holder)
            if not holders:
                del self._holders[queue]


class Holder:
    """The attempts of one who runs jobs, by queue and token."""

    def __init__(self, holdings: Holdings, cancel_asked: Callable[[str], None]) -> None:
        self._holdings = holdings
        self.cancel_asked = cancel_asked
        self._held: dict[tuple[str, bytes], Held] = {}
        self._by_queue: dict[str, dict[bytes, Held]] = {}

    def __len__(self) -> int:
        return len(self._held)

    def hold(self, claimed: Sequence[Claimed]) -> None:
        """These were leased for it, and begin."""
        job_log.started(claimed)
        if self._holdings.metrics is not None:
            self._holdings.metrics.started(claimed)
        now = time.monotonic()
        for one in claimed:
            spec = one.job.spec
            self._add(Held(one.lease, spec.type, spec.terms.retry, one.job.failures, now, renewed=now, heard=now))
        for queue in {one.lease.queue for one in claimed}:
            self._holdings.held(queue, self, now)

    def take_over(self, lease: Lease, type_: str) -> Held:
        """It holds what was leased elsewhere, or before."""
        held = self.get(lease)
        if held is None:
            now = time.monotonic()
            held = Held(lease, type_, None, 0, now, renewed=now, heard=now)
            self._add(held)
            self._holdings.held(lease.queue, self, now)
        return held

    def get(self, lease: Lease) -> Held | None:
        """What it holds by this lease; None: it does not hold it."""
        return self._held.get((lease.queue, lease.token))

    def at(self, queue: str, token: bytes) -> Held | None:
        """The same, by the store's token."""
        return self._held.get((queue, token))

    def all(self) -> Collection[Held]:
        """All that it holds. May be called from any thread."""
        return list(self._held.values())  # of a dict's values that is one step to other threads

    def of_queue(self, queue: str) -> Sequence[Held]:
        """What it holds of a queue."""
        return list(self._by_queue.get(queue, {}).values())

    def overdue(self, age: timedelta) -> Sequence[Held]:
        """Leases that were not extended for so long, though a heartbeat has been heard in the last five minutes.
        May be called from any thread."""
        now = time.monotonic()
        before, alive = now - age.total_seconds(), now - _LONGEST_BUSY
        return [held for held in self.all() if held.renewed < before and held.heard > alive]

    def forget(self, queue: str, token: bytes) -> Held | None:
        """It has ended, or its lease is lost. What it was."""
        held = self._held.pop((queue, token), None)
        if held is not None:
            self._holdings.disown((queue, token))
            of_queue = self._by_queue[queue]
            del of_queue[token]
            if not of_queue:
                del self._by_queue[queue]
                self._holdings.left(queue, self)
        return held

    def forget_all(self, leases: Iterable[Lease] | None = None) -> None:
        """All of these; None: all that it holds."""
        for lease in [held.lease for held in self._held.values()] if leases is None else leases:
            self.forget(lease.queue, lease.token)

    def _add(self, held: Held) -> None:
        queue, token = held.lease.queue, held.lease.token
        self._holdings.own((queue, token), self)
        self._held[queue, token] = held
        self._by_queue.setdefault(queue, {})[token] = held
