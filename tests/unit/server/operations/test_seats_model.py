"""Whoever may begin a job is asked for it, and nobody is given more than it may begin, whatever happened before."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from datetime import timedelta
from itertools import chain

from contract.builders import HOUR, MINUTE, a_job
from contract.properties import bounded
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from tocsin.worker.slots import FreeSlots, Slots
from tocsin_server.domain.lease import Claimed, Lease
from tocsin_server.operations.leasing.seats import MOST, Seat, Seats

TYPES, QUEUES = ("t", "u"), ("a", "b")
queues = st.sampled_from(QUEUES)
numbers = st.dictionaries(st.sampled_from(TYPES), st.integers(1, 3), max_size=2)


class Sitter:
    """Runs jobs in slots as a server does, and can be out of breath."""

    def __init__(self, seats: Seats, types: Collection[str], of: Collection[str] | None, lease: timedelta, slots: int):
        self.slots = Slots(slots, dict.fromkeys(types))
        self.running: list[Claimed] = []
        self.breathing = False
        self.left = False
        self.too_many = False
        self.seat = Seat(
            types=self.slots.types,
            queues=None if of is None else frozenset(of),
            lease=lease,
            capacity=self.capacity,
            take=self.take,
            fresh=None,
            on_widened=lambda seat: None if self.left else seats.add(seat),
            on_leave=seats.remove,
        )
        self.slots.widened = self.seat.widened
        seats.add(self.seat)

    def capacity(self) -> FreeSlots:
        return self.slots.capacity(none=self.breathing)

    def take(self, claimed: Sequence[Claimed]) -> None:
        self.too_many |= self.left
        for one in claimed:
            # Not asserted here: what a seat raises is logged.
            self.too_many |= not self.would_take(one.lease.queue, one.job.spec.type)
            self.slots.take(one.lease.queue, one.job.spec.type)
            self.running.append(one)

    def serves(self, queue: str) -> bool:
        return not self.left and (self.seat.queues is None or queue in self.seat.queues)

    def would_take(self, queue: str, type_: str) -> bool:
        return self.serves(queue) and self.capacity().take(queue, type_)


class SeatsMachine(RuleBasedStateMachine):
    """Sitters come, go and change beside claims."""

    def __init__(self) -> None:
        super().__init__()
        self.seats = Seats()
        self.sitters: list[Sitter] = []
        self.jobs = 0

    def one(self, data: st.DataObject) -> Sitter:
        return data.draw(st.sampled_from(self.sitters))

    @initialize(slots=st.lists(st.integers(1, 4) | st.just(MOST), min_size=2, max_size=2))
    def two_sit(self, slots: list[int]) -> None:
        self.sits(set(TYPES), None, MINUTE, slots[0])
        self.sits({"u"}, {"a"}, MINUTE, slots[1])

    @precondition(lambda self: len(self.sitters) < 4)
    @rule(
        types=st.sets(st.sampled_from(TYPES), min_size=1),
        of=st.none() | st.sets(queues, min_size=1),
        lease=st.sampled_from([MINUTE, HOUR]),
        slots=st.integers(1, 4) | st.just(MOST),
    )
    def sits(self, types: set[str], of: set[str] | None, lease: timedelta, slots: int) -> None:
        self.sitters.append(Sitter(self.seats, types, of, lease, slots))

    @precondition(lambda self: len(self.sitters) > 2)
    @rule(data=st.data())
    def leaves(self, data: st.DataObject) -> None:
        gone = self.one(data)
        gone.left = True
        gone.seat.leave()
        self.sitters.remove(gone)

    @precondition(lambda self: any(sitter.running for sitter in self.sitters))
    @rule(data=st.data())
    def attempt_ends(self, data: st.DataObject) -> None:
        sitter = data.draw(st.sampled_from([sitter for sitter in self.sitters if sitter.running]))
        ended = sitter.running.pop(data.draw(st.integers(0, len(sitter.running) - 1)))
        sitter.slots.give(ended.lease.queue, ended.job.spec.type)

    @precondition(lambda self: self.sitters)
    @rule(data=st.data(), queue=queues, by_type=numbers)
    def queue_is_limited(self, data: st.DataObject, queue: str, by_type: dict[str, int]) -> None:
        sitter = self.one(data)
        sitter.slots.limit_queue(queue, {type_: most for type_, most in by_type.items() if type_ in sitter.slots.types})

    @precondition(lambda self: self.sitters)
    @rule(data=st.data())
    def breathes(self, data: st.DataObject) -> None:
        sitter = self.one(data)
        sitter.breathing = not sitter.breathing
        if not sitter.breathing:
            sitter.seat.widened()

    @rule(
        data=st.data(),
        queue=queues,
        dry=st.just(set[str]()) | st.sets(st.sampled_from(TYPES)),
        jobs=st.lists(st.sampled_from(TYPES), min_size=1, max_size=8),
        shrinks=st.booleans(),
    )
    def claims(self, data: st.DataObject, queue: str, dry: set[str], jobs: list[str], shrinks: bool) -> None:
        seat = self.seats.look().wanted(queue, dry)
        takes = {type_ for sitter in self.sitters for type_ in TYPES if sitter.would_take(queue, type_)}
        assert (seat is not None) == bool(takes - dry), "a seat was forgotten, or one is asked for in vain"
        if seat is None:
            return
        types, limit = self.seats.look().joined(queue, seat.lease, but=dry)
        assert types, "the claim would bring nothing, again and again"
        assert not types.keys() & dry
        assert 1 <= limit <= MOST
        assert all(1 <= count <= limit for count in types.values())

        left = Counter(types)
        left.subtract(jobs)
        brought = [self.job(queue, type_) for type_ in jobs if left[type_] >= 0][:limit]
        if shrinks:  # while the claim is under way
            self.one(data).breathing = True
        before = {sitter: len(sitter.running) for sitter in self.sitters}
        back = self.seats.deal(queue, seat.lease, brought)
        given = {sitter: sitter.running[count:] for sitter, count in before.items()}
        assert Counter(map(id, [*chain(*given.values()), *back])) == Counter(map(id, brought)), "each goes once"
        assert all(sitter.seat.lease == seat.lease for sitter, some in given.items() if some)
        for sitter in self.sitters:
            if sitter.seat.lease == seat.lease:
                able = [one for one in back if sitter.would_take(queue, one.job.spec.type)]
                assert not able, "it goes back though someone has a slot for it"

    def job(self, queue: str, type_: str) -> Claimed:
        self.jobs += 1
        job = a_job(str(self.jobs), queue=queue, type=type_)
        return Claimed(job, Lease(queue, job.job_id, 1, job.job_id.encode()))

    @invariant()
    def no_more_than_slots(self) -> None:
        for sitter in self.sitters:
            assert not sitter.too_many
            assert sitter.slots.free == sitter.slots.total - len(sitter.running) >= 0


def test_seats_under_any_sequence_of_events() -> None:
    run_state_machine_as_test(SeatsMachine, settings=bounded(600, steps=30))
