"""Outcomes go to the source in their order, and past those that it does not take."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from support.eventually import until_async
from tocsin.worker.attempt import Attempt
from tocsin.worker.flusher import Flusher
from tocsin.worker.source import AttemptOutcome, Ending, Heartbeat, HeartbeatAnswer, LeasedJob, Seat, Source

NOW = datetime(2026, 1, 1, tzinfo=UTC)


class HalfAway(Source):
    """Takes outcomes at once, but those of the queue "away" only once it is `back`."""

    def __init__(self) -> None:
        self.back = asyncio.Event()
        self.taken: list[str] = []
        self.took = asyncio.Condition()

    async def finish(self, outcomes: Sequence[AttemptOutcome]) -> Sequence[bool]:
        if any(outcome.job.queue == "away" for outcome in outcomes):
            await self.back.wait()
        self.taken += [outcome.job.job_id for outcome in outcomes]
        async with self.took:
            self.took.notify_all()
        return [True] * len(outcomes)

    async def until_taken(self, job_id: str) -> None:
        async with asyncio.timeout(5), self.took:
            await self.took.wait_for(lambda: job_id in self.taken)

    def sit(self, types: object, capacity: object, take: object) -> Seat:
        raise AssertionError("nobody asks")

    async def extend(self, heartbeats: Sequence[Heartbeat]) -> Sequence[HeartbeatAnswer]:
        raise AssertionError("nobody asks")

    @property
    def heartbeat_every(self) -> timedelta:
        return timedelta(seconds=10)

    async def beat_wanted(self) -> None:
        await asyncio.Event().wait()


async def nothing_to_say(_: Sequence[Attempt]) -> None:
    """No attempt has progress."""


def outcome(job_id: str, queue: str = "here") -> AttemptOutcome:
    return AttemptOutcome(LeasedJob(queue, job_id, "t", 1, b"token", 0, b"", NOW, NOW), Ending.COMPLETED)


async def test_outcomes_that_are_not_taken_do_not_hold_up_the_next() -> None:
    source = HalfAway()
    flusher = Flusher(source, nothing_to_say)
    flusher.add(None, outcome("stuck", "away"))
    await asyncio.sleep(0)
    for job_id in ("a", "b"):
        flusher.add(None, outcome(job_id))
        await source.until_taken(job_id)
    assert source.taken == ["a", "b"]

    async def one_left() -> bool:
        return flusher.unflushed == 1

    await until_async(one_left, within=5)
    source.back.set()
    await flusher.idle()
    assert source.taken == ["a", "b", "stuck"]
    assert flusher.unflushed == 0


async def test_outcomes_that_are_taken_go_in_their_order() -> None:
    source = HalfAway()
    flusher = Flusher(source, nothing_to_say)
    for number in range(5):
        flusher.add(None, outcome(str(number)))
        await asyncio.sleep(0)
    await flusher.idle()
    assert source.taken == ["0", "1", "2", "3", "4"]


async def test_closing_gives_up_on_what_is_stuck() -> None:
    flusher = Flusher(HalfAway(), nothing_to_say)
    flusher.add(None, outcome("stuck", "away"))
    await asyncio.sleep(0)
    flusher.close()
    async with asyncio.timeout(5):
        await flusher.idle()


class Faulty(HalfAway):
    """Raises at outcomes of the queue "away" until it is `back`."""

    def __init__(self) -> None:
        super().__init__()
        self.tries = 0

    async def finish(self, outcomes: Sequence[AttemptOutcome]) -> Sequence[bool]:
        if any(outcome.job.queue == "away" for outcome in outcomes) and not self.back.is_set():
            self.tries += 1
            raise ValueError("a bug")
        return await super().finish(outcomes)


async def test_what_the_source_raises_at_is_kept_and_holds_up_no_neighbour() -> None:
    source = Faulty()
    flusher = Flusher(source, nothing_to_say)
    flusher.add(None, outcome("faulty", "away"))
    flusher.add(None, outcome("a"))
    await source.until_taken("a")

    async def tried_again() -> bool:
        return source.tries >= 3

    await until_async(tried_again, within=5)
    source.back.set()
    await flusher.idle()
    assert source.taken == ["a", "faulty"]
    assert flusher.unflushed == 0
