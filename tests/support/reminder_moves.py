"""Bookings that are moved at random while their reminders are sent, and what must hold of the mails that arrive."""

from __future__ import annotations

import asyncio
import random
import re
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from tocsin import AsyncClient, Job, ReminderSet
from tocsin_server.messages.stamp import Stamp

from support.eventually import until_async
from support.mail_probe import Arrival, MailProbe

#: So far before their booking that none of these has begun when it is reminded of.
AHEAD = timedelta(hours=1)
OFFSETS = (AHEAD + timedelta(milliseconds=200), AHEAD + timedelta(milliseconds=100), AHEAD)
TEMPLATE = "moved"
_JOB_ID = re.compile(r"booking:(?P<booking>\w+):(?P<offset>[\d.]+):g(?P<revision>\d+)")


@dataclass(frozen=True, slots=True)
class Key:
    """One reminder of one revision of a booking's set."""

    booking: str
    offset: timedelta
    revision: int


@dataclass
class Moves:
    """Moves `bookings` bookings `total` times, from any of the clients, `parallel` at once.

    Of new times the last reminder is due from a little in the past to a second ahead, so that moves meet reminders that
    are due just then.
    """

    clients: Sequence[AsyncClient]
    queue: str
    bookings: int
    total: int
    chance: random.Random
    parallel: int = 16
    answered: dict[str, dict[int, float]] = field(default_factory=lambda: defaultdict(dict))
    anchors: set[int] = field(default_factory=set)
    keys: dict[str, Key] = field(default_factory=dict)  # by the mark that a job leaves in its mails
    marks: set[str] = field(default_factory=set)  # of jobs that say how far the watch has told
    left: int = 0

    async def run(self) -> None:
        """Make all moves, and return once every reminder was sent that is to be sent, and every job is known."""
        watching = asyncio.create_task(self._watch())
        try:
            await until_async(self._marked, within=30, what="the watch stands")
            await self._make()
            await self._settled(within=120)
            last = await self._mark()
            await until_async(lambda: self._has_told(last, watching), within=120, what="the watch has told of all jobs")
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)

    async def _watch(self) -> None:
        """Learn of each job as it is made: ended ones are soon trimmed, so that what stands does not grow."""
        cursor = ""
        while True:
            told = False
            changes = self.clients[-1].watch(queue=self.queue, states=["SCHEDULED", "WAITING"], cursor=cursor)
            async with aclosing(changes):
                async for change in changes:
                    if change.job is not None:
                        cursor, told = change.cursor, True
                        self._learn(change.job)
                        continue
                    # It was too slow for the server: the log has what it missed. Or the log has a gap itself.
                    if not told:
                        cursor = change.cursor
                        async for job in self.clients[-1].list(queue=self.queue, page_size=1000):
                            self._learn(job)
                    break

    async def _marked(self) -> bool:
        """Whether the watch tells of jobs that are made now, or some were made before it stood."""
        await self._mark()
        return bool(self.marks)

    async def _mark(self) -> str:
        """Make a job that nobody runs, for the watch to tell of; its id."""
        job = await self.clients[-1].schedule("mark", queue=self.queue, delay=3600)
        await self.clients[-1].cancel(job)
        return job.job_id

    async def _has_told(self, mark: str, watching: asyncio.Task[None]) -> bool:
        assert not watching.done(), watching.exception()
        return mark in self.marks

    def _learn(self, job: Job) -> None:
        assert job.create_time is not None
        if job.type == "mark":
            self.marks.add(job.job_id)
            return
        stamp = Stamp(job.queue, job.job_id, job.create_time, 1, datetime.now(UTC))
        self.keys[stamp.job_mark] = _key(job.job_id)

    async def _make(self) -> None:
        self.left = self.total
        # The first alone: of two upserts of a new queue's document that meet, SecantusDB answers one with nothing.
        await self._move()
        await asyncio.gather(*(self._some() for _ in range(self.parallel)))

    async def _some(self) -> None:
        while self.left > 0:
            await self._move()

    async def _move(self) -> None:
        self.left -= 1
        booking = f"b{self.chance.randrange(self.bookings)}"
        client = self.clients[self.chance.randrange(len(self.clients))]
        made = await client.schedule_booking_reminders(
            booking,
            self._anchor(),
            queue=self.queue,
            offsets=OFFSETS,
            email_to=["ada@example.com"],
            title=booking,
            template=TEMPLATE,
            deadline=90,
        )
        self.answered[booking].setdefault(made.revision, time.monotonic())

    def _anchor(self) -> datetime:
        """A time that no other move has."""
        ms = int(time.time() * 1000) + self.chance.randrange(-100, 1000)
        while ms in self.anchors:
            ms += 1
        self.anchors.add(ms)
        return datetime.fromtimestamp(ms / 1000, UTC) + AHEAD

    async def _settled(self, within: float) -> None:
        async def quiet() -> bool:
            counts = (await self.clients[-1].queue_health(self.queue)).counts
            return counts.scheduled + counts.waiting + counts.active == 0

        await until_async(quiet, within=within, what="all reminders are sent")


@dataclass(frozen=True, slots=True)
class Findings:
    """What the mails say."""

    late: list[str]  # sends that began for an older revision after a newer one was answered
    missed: list[str]  # reminders of a last anchor that were not sent, though no later one of the set was
    unwanted: list[str]  # skipped reminders that were sent
    second: int  # sends beyond the first of one reminder
    superseded: int  # sends of revisions that were left later


async def examine(moves: Moves, probe: MailProbe) -> Findings:
    """Hold what arrived against what was answered."""
    client = moves.clients[-1]
    sent: Counter[Key] = Counter()
    late = []
    for arrival in probe.arrivals:
        key = moves.keys[arrival.job_mark]
        assert arrival.subject == key.booking
        sent[key] += 1
        late += _late(moves, key, arrival)
    missed, unwanted, last = [], [], {}
    for booking in moves.answered:
        found = await client.get_reminders("BOOKING", booking, queue=moves.queue)
        last[booking] = found.revision
        followed = False  # by one that was sent: a reminder may give way to a later one that is due as well
        for key, skipped in reversed(list(_last(found))):
            if skipped and sent[key]:
                unwanted.append(f"{key}: sent, though it was skipped")
            elif not skipped and not sent[key] and not followed:
                missed.append(f"{key}: not sent")
            followed = followed or sent[key] > 0
    superseded = sum(1 for key in sent if key.revision < last[key.booking])
    return Findings(late, missed, unwanted, sum(count - 1 for count in sent.values()), superseded)


def _key(job_id: str) -> Key:
    found = _JOB_ID.fullmatch(job_id)
    assert found is not None, job_id
    return Key(found["booking"], timedelta(seconds=float(found["offset"])), int(found["revision"]))


def _late(moves: Moves, key: Key, arrival: Arrival) -> Iterator[str]:
    for revision, at in moves.answered[key.booking].items():
        if revision > key.revision and arrival.begun > at:
            yield f"{key}: began {arrival.begun - at:.3f} s after revision {revision} was answered"


def _last(found: ReminderSet) -> Iterator[tuple[Key, bool]]:
    for one in found.reminders:
        yield Key(found.id, one.offset, found.revision), one.skipped
