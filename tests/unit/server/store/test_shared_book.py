"""The book of shared limits, whatever is lost, late or slow: never more run than may, and no place is lost for good."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tocsin_server.domain.queue_limits import Rate
from tocsin_server.domain.shared_limits import SharedLimit
from tocsin_server.store.shared_book import Book, Taken, Word

QUEUES = ("a", "b", "c")
MOST = 4


@dataclass
class Queue:
    """What a store knows of one."""

    running: int = 0
    told: int = 0
    floor: int = 0

    def word(self) -> Word:
        self.told += 1
        return Word(self.told, self.running, floor=self.floor)


class World:
    """A book and its queues, and messages between them that are on their way."""

    def __init__(self) -> None:
        self.said: bytes | None = None
        self.now = 1_000
        self.queues = {name: Queue() for name in QUEUES}
        self.grants: list[tuple[str, Taken]] = []
        self.used: list[tuple[int, int, Word]] = []
        self.most = self.bound = MOST
        self.put(MOST)

    def change(self, do):
        book = Book(self.said)
        answer = do(book)
        book.rung(self.now)  # who waits has its turn, and loses it where it does not come
        self.said = book.written()
        return answer

    @property
    def running(self) -> int:
        return sum(one.running for one in self.queues.values())

    def put(self, most: int) -> None:
        limit = SharedLimit("l", QUEUES, most)
        unheard, _ = self.change(lambda book: book.put(limit))
        self.most = most
        self.join(dict(unheard))

    def join(self, queues: dict[str, int]) -> None:
        for name, version in queues.items():
            queue = self.queues[name]
            queue.floor = max(queue.floor, version)
            word = queue.word()
            self.change(lambda book, name=name, word=word, v=version: book.hear(name, word, joined=v, up_to=v))

    def take(self, name: str, wanted: int) -> None:
        taken = self.change(lambda book: book.take(name, wanted, self.now))
        if taken.jobs:
            self.grants.append((name, taken))

    def lease(self, at: int, number: int, fate: int) -> None:
        """By a grant, fewer than it has perhaps; the word of it comes at once, later, or never."""
        if not self.grants:
            return
        name, taken = self.grants.pop(at % len(self.grants))
        queue = self.queues[name]
        if taken.version <= queue.floor:
            self.change(lambda book: book.refused(taken.version, queue.floor))
            return
        number = min(number, taken.jobs)
        queue.running += number
        assert self.running <= self.bound
        if fate < 2:
            self.used.append((taken.version, number, queue.word()))
        if fate == 0:
            self.deliver(-1)

    def deliver(self, at: int) -> None:
        if self.used:
            version, number, word = self.used.pop(at % len(self.used))
            self.change(lambda book: book.used(version, number, word))

    def end(self, name: str, number: int, tells: bool) -> None:
        queue = self.queues[name]
        queue.running -= min(number, queue.running)
        if tells:
            word = queue.word()
            self.change(lambda book: book.hear(name, word))

    def look(self) -> None:
        """As the chore does, a second later."""
        self.now += 1_000
        for name, version in self.change(lambda book: book.stale(self.now)).items():
            queue = self.queues[name]
            queue.floor = max(queue.floor, version)
            word = queue.word()
            self.change(lambda book, name=name, word=word, v=version: book.hear(name, word, up_to=v))
        for name in QUEUES:
            self.end(name, 0, tells=True)

    def step(self, what: str, one: int, other: int) -> None:
        name = QUEUES[one % len(QUEUES)]
        match what:
            case "take":
                self.take(name, 1 + other)
            case "lease":
                self.lease(one, 1 + other, (one + other) % 3)
            case "late":
                self.deliver(one)
            case "end":
                self.end(name, 1 + other, tells=one % 2 == 0)
            case "look":
                self.look()
            case "put":
                self.put(1 + other)
        granted = sum(taken.jobs for _, taken in self.grants)
        self.bound = max(self.most, min(self.bound, self.running + granted))


STEPS = st.tuples(
    st.sampled_from(("take", "take", "lease", "lease", "late", "end", "look", "put")),
    st.integers(0, 5),
    st.integers(0, 5),
)


@settings(max_examples=300)
@given(st.lists(STEPS, min_size=30, max_size=80))
def test_never_more_run_than_may_and_no_place_is_lost(steps: list[tuple[str, int, int]]) -> None:
    world = World()
    for step in steps:
        world.step(*step)
    for name in QUEUES:
        world.end(name, 1_000, tells=False)
    world.look()
    [state] = Book(world.said).states(world.now)
    assert state.total == 0
    for _ in QUEUES:  # each that waits has its turn, and does not come
        world.look()
    world.grants.clear()
    world.take("a", 10)
    [(_, taken)] = world.grants
    assert taken.jobs == world.most


def test_a_queue_that_was_lost_tells_anew_before_anything_begins() -> None:
    world = World()
    lost = Word(99, 0, marked=False)
    world.change(lambda book: book.hear("a", lost))
    taken = world.change(lambda book: book.take("b", 1, world.now))
    assert (taken.jobs, [name for name, _ in taken.unheard]) == (0, ["a"])
    world.join(dict(taken.unheard))
    assert world.change(lambda book: book.take("b", 1, world.now)).jobs in (0, 1)


@pytest.mark.parametrize("burst", [1, 5])
def test_a_rate_lets_so_many_begin_over_all_queues_and_gives_back_what_was_not_used(burst: int) -> None:
    book, now = Book(), 1_000_000
    book.put(SharedLimit("l", ("a", "b"), rate=Rate(10, timedelta(seconds=1), burst)))
    for name, version in book.unheard.items():
        book.hear(name, Word(1, 0, floor=version), joined=version, up_to=version)
    first = book.take("a", 10, now)
    assert first.jobs == burst
    assert book.take("b", 10, now).jobs == 0
    assert book.take("b", 10, now).at == now + 100
    book.used(first.version, 0, Word(2, 0))
    assert book.take("b", 10, now).jobs == burst
    assert book.take("a", 10, now + 100).jobs == 1
