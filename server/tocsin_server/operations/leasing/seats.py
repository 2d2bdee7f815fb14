"""Who runs jobs, how many more each can begin, and who is handed what was leased."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import timedelta
from heapq import merge
from itertools import count
from operator import itemgetter
from typing import Protocol, TypeAlias

import structlog

from tocsin_server.domain.lease import Claimed

_log: structlog.typing.FilteringBoundLogger = structlog.get_logger()

#: What one claim may ask for.
MOST = 1000

#: So many seats join in one claim at most. No store leases more jobs by one, and who is served goes to the end of the
#: row; so those behind come forward.
_JOINED = 200

#: Brings what is known of a queue up to date.
Fresh: TypeAlias = Callable[[str], Awaitable[None]]


class Capacity(Protocol):
    """Free slots as they are at one moment, and what is promised of them."""

    @property
    def free(self) -> int:
        """How many jobs may begin in all; 0 or less: none."""
        ...

    def of(self, queue: str) -> Mapping[str, int]:
        """How many jobs of each type may begin from the queue; types without a free slot are left out."""
        ...

    def take(self, queue: str, type: str, /) -> bool:
        """Promise a slot to a job. False: there is none for it."""
        ...


@dataclass(eq=False, slots=True, kw_only=True)
class Seat:
    """One who runs jobs: an embedded loop for as long as it runs, a worker's stream while it stands, a long poll until
    its first jobs.

    types: of the jobs it runs. queues: which it takes jobs of; None: all. lease: how long what it is given is leased.
    capacity: how many may begin now. take: called with what was leased for it; it must begin them, or give them back.
    fresh: awaited with the queue before each claim, so that `capacity` is as the queue's settings say.
    request: the request bytes of its claims, by queue, where it claims for itself alone; None: it shares claims.
    apart: its slots are no other seat's, but for others that are apart, with which it shares all of them. What it has
    free is no room for the jobs of the others; and where it alone has some, it is asked for now and then only, for of
    most queues it takes next to nothing.
    """

    types: AbstractSet[str]
    queues: AbstractSet[str] | None
    lease: timedelta
    capacity: Callable[[], Capacity]
    take: Callable[[Sequence[Claimed]], None]
    fresh: Fresh | None = None
    request: Callable[[str], bytes] | None = None
    apart: bool = False
    on_widened: Callable[[Seat], None]
    on_leave: Callable[[Seat], None]

    def widened(self) -> None:
        """Say that jobs may begin which could not before."""
        self.on_widened(self)

    def leave(self) -> None:
        """Take no more. What a claim under way brings goes to another seat, or is given back."""
        self.on_leave(self)


class Seats:
    """The seats that have free slots, in a row: who is served goes to its end.

    A seat without any free slot is not looked at again until it says that it was widened; then it comes last, too.
    """

    def __init__(self) -> None:
        # Each seat's place in the row, by queue; under None those that take of all queues.
        self._hungry: dict[str | None, dict[Seat, int]] = {}
        self._last = 0
        # How they become fresh, by queue, each way as often as a seat has it: hundreds of seats share one.
        self._fresh: dict[str | None, Counter[Fresh]] = {}

    def add(self, seat: Seat) -> None:
        """It has free slots, or may have."""
        self._last += 1
        for queue in _named(seat):
            seats = self._hungry.setdefault(queue, {})
            if seat not in seats:
                seats[seat] = self._last
                if seat.fresh is not None:
                    self._fresh.setdefault(queue, Counter())[seat.fresh] += 1

    def remove(self, seat: Seat) -> None:
        """It has none, or has left."""
        for queue in _named(seat):
            seats = self._hungry.get(queue)
            if seats is None or seats.pop(seat, None) is None:
                continue
            if not seats:
                del self._hungry[queue]
            if seat.fresh is not None:
                ways = self._fresh[queue]
                ways[seat.fresh] -= 1
                if not ways[seat.fresh]:
                    del ways[seat.fresh]
                if not ways:
                    del self._fresh[queue]

    def look(self, paced: AbstractSet[str] = frozenset()) -> Look:
        """What may begin at this moment. paced: queues that those apart do not ask for just now."""
        return Look(self, paced)

    def of(self, queue: str) -> Iterable[Seat]:
        """Those that take jobs of the queue, as they stand in the row. Of a thousand the first few are mostly enough,
        so each is looked for when it is asked for: the row must not change meanwhile."""
        named, all_ = self._hungry.get(queue), self._hungry.get(None)
        if named and all_:
            return (seat for seat, _ in merge(named.items(), all_.items(), key=itemgetter(1)))
        return named or all_ or ()

    def freshened(self, queue: str) -> set[Fresh]:
        """How those that take jobs of the queue become fresh."""
        return {*self._fresh.get(queue, ()), *self._fresh.get(None, ())}

    def sits(self, seat: Seat, queue: str) -> bool:
        """Whether the seat stands in the queue's row."""
        return any(seat in self._hungry.get(name, ()) for name in (queue, None))

    def deal(
        self, queue: str, lease: timedelta, claimed: Sequence[Claimed], alone: Seat | None = None
    ) -> list[Claimed]:
        """Hand out jobs of a queue, best first, one to each seat with a slot for it in turn; or to `alone`, for which
        they were claimed. Returns those that nobody has a slot for."""
        row = iter(self.parts_of(queue, lease, alone))
        seats: list[tuple[Seat, Capacity, list[Claimed]]] = []  # of the row, as far as it was needed
        left: list[Claimed] = []
        at = 0
        for one in claimed:
            for step in count(at):
                if step == len(seats) and (seat := next(row, None)) is not None:
                    seats.append((seat, seat.capacity(), []))
                if step >= at + len(seats):  # all were asked, and there are no others
                    left.append(one)
                    break
                _, capacity, given = seats[step % len(seats)]
                if capacity.take(queue, one.job.spec.type):
                    given.append(one)
                    at = step + 1
                    break
        served = [(seat, given) for seat, _, given in seats if given]
        for seat, _ in served:
            self.remove(seat)
            self.add(seat)  # at the end of the row
        for seat, given in served:
            try:
                seat.take(given)
            except Exception:
                # What it has not begun runs out of its lease. The others are given theirs.
                _log.exception("jobs_not_taken", queue=queue, jobs=len(given))
        return left

    def parts_of(self, queue: str, lease: timedelta, alone: Seat | None) -> Iterable[Seat]:
        """Those that have a part in a claim: who share claims and whose leases last so long, or the one that claims for
        itself."""
        if alone is not None:
            return (alone,) if self.sits(alone, queue) else ()
        return (seat for seat in self.of(queue) if seat.request is None and seat.lease == lease)


class Look:
    """The seats' free slots at one moment, each asked for once."""

    def __init__(self, seats: Seats, paced: AbstractSet[str] = frozenset()) -> None:
        self._seats = seats
        self._paced = paced
        self._capacities: dict[Seat, Capacity] = {}
        self._only_apart = False

    def wanted(self, queue: str, but: AbstractSet[str]) -> Seat | None:
        """The first seat with a slot for a job of the queue whose type is another than these."""
        found, full = None, list[Seat]()
        for seat in self._seats.of(queue):
            capacity = self._capacity(seat)
            if capacity.free <= 0:
                full.append(seat)
            elif seat.apart and queue in self._paced:
                continue
            elif not capacity.of(queue).keys() <= but:
                found = seat
                break
        for seat in full:
            self._seats.remove(seat)
        return found

    @property
    def only_apart(self) -> bool:
        """Whether all that had a part in what `joined` said last are apart."""
        return self._only_apart

    def joined(
        self, queue: str, lease: timedelta, but: AbstractSet[str], alone: Seat | None = None
    ) -> tuple[dict[str, int], int]:
        """How many jobs of each type but these, and how many in all, the seats whose leases last so long take of the
        queue; or one seat that claims for itself alone."""
        types, apart = Counter[str](), Counter[str]()
        limit = apart_limit = joined = 0
        for seat in self._seats.parts_of(queue, lease, alone):
            capacity = self._capacity(seat)
            if (free := capacity.free) <= 0:
                continue
            slots = [(type_, most) for type_, most in capacity.of(queue).items() if type_ not in but]
            if slots:
                joined += 1
                if seat.apart:
                    apart_limit = max(apart_limit, free)
                else:
                    limit += free
                for type_, most in slots:
                    (apart if seat.apart else types)[type_] += min(most, free)
                if joined == _JOINED:
                    break
        self._only_apart = not limit
        # Of either kind no more may come than it has slots for, whatever the other has.
        limits = [most for most, wanted in ((limit, types), (apart_limit, apart)) if wanted.total() > most]
        # Cut at the end: a seat with a thousand free slots must not hide the types of those behind it.
        limit = min(*limits, limit + apart_limit, MOST)
        return {type_: min(count, limit) for type_, count in (types + apart).items()}, limit

    def _capacity(self, seat: Seat) -> Capacity:
        capacity = self._capacities.get(seat)
        if capacity is None:
            capacity = self._capacities[seat] = seat.capacity()
        return capacity


def _named(seat: Seat) -> Collection[str | None]:
    return (None,) if seat.queues is None else seat.queues
