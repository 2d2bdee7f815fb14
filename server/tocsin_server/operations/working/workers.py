"""Which workers this server speaks for: those that hold a stream open here, or called lately."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from tocsin_server.domain.lease import Claimed, Lease
from tocsin_server.domain.queues import WorkerFigures
from tocsin_server.domain.workers import Ask, Poll, WorkerIdentity
from tocsin_server.operations.leasing.holdings import Held, Holder, Holdings, named
from tocsin_server.operations.store_clock import StoreClock
from tocsin_server.operations.working.stream import WorkerStream

#: A worker that calls is there for so long after its last call, one that had a stream so long after that ended:
#: it may be on its way to another server.
_AFTER_CALL, _AFTER_STREAM = timedelta(seconds=60), timedelta(seconds=10)

#: Workers that are remembered. Names come from callers.
_MOST = 10_000


@dataclass(eq=False, slots=True)
class _Present:
    """One worker."""

    identity: WorkerIdentity
    since: datetime
    holder: Holder  # of what it holds by calls
    until: float = 0.0  # time.monotonic() until when it is there, stream or not
    heard: datetime | None = None  # its last call, by the store's clock
    lease: float = 0.0  # seconds: the longest of its leases by calls
    asks: Sequence[Ask] = ()  # of its last poll
    polls: list[Poll] = field(default_factory=list)  # that wait
    streams: set[WorkerStream] = field(default_factory=set)

    def here(self, now: float) -> bool:
        """Whether it is there."""
        return bool(self.streams or self.polls) or now < self.until

    def prune(self, now: float) -> None:
        """Forget what it holds by calls and did not extend."""
        self.holder.forget_all([one.lease for one in self.holder.all() if one.renewed + self.lease < now])


class Workers:
    """Remembers who works here. appeared: called where another worker has come."""

    def __init__(self, holdings: Holdings, clock: StoreClock) -> None:
        self._holdings = holdings
        self._clock = clock
        self._present: dict[str, _Present] = {}
        self.appeared: Callable[[], None] = lambda: None

    # --- calls ---

    @contextmanager
    def polling(self, poll: Poll) -> Iterator[None]:
        """A worker's poll waits."""
        present = self._called(poll.worker, poll.lease)
        present.asks = poll.asks
        present.polls.append(poll)
        try:
            yield
        finally:
            present.polls.remove(poll)
            self._heard(present, _AFTER_CALL)

    def leased(self, poll: Poll, claimed: Sequence[Claimed]) -> None:
        """A poll has these jobs."""
        self._called(poll.worker, poll.lease).holder.hold(claimed)

    def extended(self, worker: WorkerIdentity, lease: timedelta, leases: Iterable[tuple[Lease, str]]) -> None:
        """A worker extended leases, each with its job's type."""
        mine, now = self._called(worker, lease).holder, time.monotonic()
        for one, type_ in leases:
            # What it holds by a stream stays with that, which tells of cancels.
            held = (self._holdings.owner(one) or mine).take_over(one, type_)
            held.renewed = held.heard = now

    def held(self, lease: Lease) -> Held | None:
        """What is held here by this lease; None: it is held by nobody."""
        owner = self._holdings.owner(lease)
        return None if owner is None else owner.get(lease)

    def done(self, worker: WorkerIdentity, leases: Iterable[Lease]) -> None:
        """A worker holds these no more."""
        self._called(worker)
        for lease in leases:
            if (owner := self._holdings.owner(lease)) is not None:
                owner.forget(lease.queue, lease.token)

    # --- streams ---

    def opened(self, stream: WorkerStream) -> None:
        """A worker's stream has begun."""
        present = self._called(stream.hello.worker)
        present.streams.add(stream)

    def closed(self, stream: WorkerStream) -> None:
        """It is over."""
        present = self._present.get(stream.hello.worker.name)
        if present is not None and stream in present.streams:
            present.streams.remove(stream)
            present.heard = self._clock.now()
            present.until = time.monotonic() + _AFTER_STREAM.total_seconds()

    # --- who is there ---

    def figures(self) -> list[WorkerFigures]:
        """All that are there, as they are now."""
        now = time.monotonic()
        for name, present in list(self._present.items()):
            present.prune(now)
            if not present.here(now):
                present.holder.forget_all()
                del self._present[name]
        return [_figures(present) for present in self._present.values()]

    def counted(self) -> tuple[int, int, int]:
        """How many are there, how many further jobs their streams would take now, and how many attempts they hold.
        Cost O(workers), and next to nothing for each."""
        now, free, held, here = time.monotonic(), 0, 0, 0
        for present in self._present.values():
            if present.here(now):
                here += 1
                free += sum(stream.free for stream in present.streams)
                held += len(present.holder) + sum(len(stream.holder) for stream in present.streams)
        return here, free, held

    def _called(self, worker: WorkerIdentity, lease: timedelta = timedelta(0)) -> _Present:
        present = self._present.get(worker.name)
        if present is None:
            if len(self._present) >= _MOST:
                self.figures()  # drops those that are gone
            present = _Present(worker, self._clock.now(), self._holdings.holder())
            if len(self._present) < _MOST:
                self._present[worker.name] = present
            self.appeared()
        present.identity = worker
        present.lease = max(present.lease, lease.total_seconds())
        self._heard(present, _AFTER_CALL)
        return present

    def _heard(self, present: _Present, stays: timedelta) -> None:
        present.heard = self._clock.now()
        present.until = max(present.until, time.monotonic() + stays.total_seconds())


def _figures(present: _Present) -> WorkerFigures:
    asks = [ask for stream in present.streams for ask in stream.hello.asks]
    if not asks or present.polls:
        asks += present.asks
    held = [one for stream in present.streams for one in stream.holder.all()]
    held += present.holder.all()
    free = sum(stream.free for stream in present.streams)
    free += sum(ask.most for poll in present.polls for ask in poll.asks)
    queues = {ask.queue for ask in asks}
    worker = present.identity
    return WorkerFigures(
        worker=worker.name,
        types=tuple(sorted({type_ for ask in asks for type_ in ask.types})),
        slots=len(held) + free,
        busy=len(held),
        abandoned=0,
        seen_time=None if present.streams or present.polls else present.heard,
        queues=() if None in queues else tuple(sorted(queue for queue in queues if queue is not None)),
        remote=True,
        version=worker.version,
        language=worker.language,
        labels=worker.labels,
        since=present.since,
        held=named(held),
        free=free,
    )
