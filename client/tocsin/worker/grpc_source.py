"""A server as the worker runtime's source of jobs: one stream, to whichever server can be reached."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

import grpc

from tocsin.async_client import AsyncClient
from tocsin.errors import ServerError, TocsinError
from tocsin.v1 import error_reason_pb2
from tocsin.v1 import worker_service_pb2 as pb
from tocsin.worker import job_log
from tocsin.worker.addresses import Addresses
from tocsin.worker.job_stream import JobStream, Listener, Route
from tocsin.worker.messages import StoreTime, heartbeat_message, leased_job, outcome_message, stop_wish
from tocsin.worker.outbox import DueOutcome, GivenCredits, Outbox
from tocsin.worker.slots import FreeSlots
from tocsin.worker.source import AttemptOutcome, Heartbeat, HeartbeatAnswer, LeasedJob, Seat, Source

logger = logging.getLogger("tocsin.worker")

#: Seconds that a credit waits for an outcome to travel with: a slot that becomes free mostly has one.
CREDIT_DELAY = 0.001

#: Seconds before an outcome is sent again that the server could not record: the first, and the longest.
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0

#: Seconds that `close` waits for the server to end the stream.
CLOSE_GRACE = 2.0

#: What a server that is away, or whose store is, says. Other refusals of an outcome stay.
_PASSING = frozenset(
    code.value[0]
    for code in (
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.UNKNOWN,
    )
)
#: What gRPC says where the server ended the connection for its age, `connections.max_age`: nothing is wrong then.
_AGED = "max connection age"
#: What does not change by trying again.
_FINAL = (
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.UNAUTHENTICATED,
    grpc.StatusCode.PERMISSION_DENIED,
    grpc.StatusCode.UNIMPLEMENTED,
    grpc.StatusCode.FAILED_PRECONDITION,
)


@dataclass(slots=True)
class _Held:
    """What is needed of an attempt until its outcome is taken; its payload is not."""

    type: str
    since: float  # time.monotonic() when it was leased
    ended: bool = False  # its outcome is on the way
    wish: HeartbeatAnswer | None = None  # a cancel


class GrpcSource(Source, Listener):
    """Takes jobs from the servers at `addresses`, and gives their outcomes to them. `run` keeps the stream.

    worker: who it is, in the words of the protos. queues: which to take jobs of; None: all. narrow: types with fewer
    slots than there are in all. lease: how long leases hold unextended.
    """

    #: The stream itself puts together what waits, and keeps the order.
    patience = 0.0

    def __init__(
        self,
        addresses: Addresses,
        route: Route,
        worker: pb.Worker,
        *,
        queues: Sequence[str] | None = None,
        narrow: Collection[str] = (),
        lease: timedelta = timedelta(seconds=30),
    ) -> None:
        self._addresses = addresses
        self._route = route
        self._worker = worker
        self._queues = queues
        self._narrow = narrow
        self._lease = lease
        self._held: dict[bytes, _Held] = {}
        self._outbox = Outbox()
        self._clock = StoreTime()
        self._beat = asyncio.Event()
        self._seat: _GrpcSeat | None = None
        self._sat = asyncio.Event()
        self._credits = GivenCredits(narrow)
        self._stream: JobStream | None = None
        self._server: str | None = None  # the last one that it went to
        self._welcomed = False  # by any server, ever
        self._away = False  # and said so
        self._closing = asyncio.Event()
        self._late: list[bytes] = []
        self._held_over: set[bytes] = set()  # leases that were granted on an earlier stream

    # --- what the runtime asks for ---

    def sit(
        self,
        types: Collection[str],
        capacity: Callable[[], FreeSlots],
        take: Callable[[Sequence[LeasedJob]], None],
    ) -> Seat:
        self._seat = _GrpcSeat(frozenset(types), capacity, take, self._ring)
        self._sat.set()
        return self._seat

    async def extend(self, heartbeats: Sequence[Heartbeat]) -> Sequence[HeartbeatAnswer]:
        # While no server is reached they wait: the next stream's hello extends what is held, and carries their words.
        answers = []
        for beat in heartbeats:
            held = self._held.get(beat.job.token)
            if held is None:
                answers.append(HeartbeatAnswer(lost=True))
                continue
            answers.append(held.wish or HeartbeatAnswer())
            self._outbox.beat(heartbeat_message(beat))
        self._ring()
        return answers

    async def finish(self, outcomes: Sequence[AttemptOutcome]) -> Sequence[bool]:
        answers: dict[int, bool] = {}
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def answer(at: int, taken: bool) -> None:
            answers[at] = taken
            held = self._held.pop(outcomes[at].job.token, None)
            if taken and held is not None:
                job_log.ended(outcomes[at], held.since)
            if len(answers) == len(outcomes) and not done.done():
                done.set_result(None)

        for at, outcome in enumerate(outcomes):
            held = self._held.get(outcome.job.token)
            if held is None:
                answer(at, False)
            else:
                held.ended = True
                self._outbox.report(DueOutcome(outcome_message(outcome, self._clock), partial(answer, at)))
        if len(answers) < len(outcomes):
            self._ring()
            await done
        return [answers[at] for at in range(len(outcomes))]

    @property
    def heartbeat_every(self) -> timedelta:
        return self._lease / 3

    async def beat_wanted(self) -> None:
        await self._beat.wait()
        self._beat.clear()

    def freed(self) -> None:
        """A slot has become free: tell the server, also where others are free already."""
        if self._seat is not None:
            self._seat.widened()

    # --- streams ---

    async def run(self) -> None:
        """Keep a stream to one of the servers, from when the seat is taken until `close`.

        Raises TocsinError where the first server that answers refuses this worker; later it tries again, for it was
        welcome once.
        """
        await self._sat.wait()
        while not self._closing.is_set():
            address, wait = self._addresses.next()
            if wait and await _comes_within(wait, self._closing):
                return
            await self._serve(address)

    async def close(self) -> None:
        """Say that nothing more comes, and give back what was sent too late to begin. The runtime has ended."""
        self._closing.set()
        self._sat.set()  # it may never have begun
        if self._stream is not None:
            await self._stream.close(CLOSE_GRACE)

    async def _serve(self, address: str) -> None:
        self._outbox.begin_stream()
        self._credits = GivenCredits(self._narrow)
        self._server = address
        self._stream = JobStream(address, self._route, self)
        try:
            await self._stream.run()
            error = None
        except TocsinError as refusal:
            error = refusal
        moves, welcomed = self._stream.drains, self._stream.welcomed
        self._stream = None
        if self._closing.is_set():
            return
        if moves is not None:
            self._addresses.drains(moves)
            logger.info("the server at %s is shutting down; on with the next one", address)
            return
        if error is not None and not self._welcomed and error.status in _FINAL:
            raise error
        if welcomed and error is not None and _AGED in str(error):
            logger.info("the connection to %s was as old as connections get there; on with another one", address)
            return
        if welcomed:
            logger.warning("the stream to %s was cut: %s", address, error or "the server ended it")
        elif not self._away:
            logger.warning("no server is reached: %s; trying on", error or f"{address} ended the stream")
        self._away = True
        self._addresses.failed()

    def _ring(self) -> None:
        if self._stream is not None:
            self._stream.ring()

    async def parents(self, job: LeasedJob) -> Sequence[bytes | None]:
        tls, token = self._route.tls or False, self._route.token or ""
        async with AsyncClient(self._server, tls=tls, token=token) as client:
            found = await client.parents(job.job_id, queue=job.queue)
        return [None if one is None else one.message.SerializeToString() for one in found]

    # --- what streams ask for, and hear ---

    def hello(self) -> pb.StreamJobsRequest:
        seat = self._seat
        assert seat is not None  # noqa: S101 - `run` waits for it
        message = pb.StreamJobsRequest()
        hello = message.hello
        hello.worker.CopyFrom(self._worker)
        hello.lease.FromTimedelta(self._lease)
        types = sorted(seat.types)
        if self._queues is None:
            hello.asks.add(types=types, all_queues=True)
        for queue in self._queues or ():
            hello.asks.add(queue=queue, types=types)
        going_on = [token for token, held in self._held.items() if not held.ended]
        hello.held_tokens.extend(going_on)
        self._outbox.fill(message)
        message.credits.extend(self._credits.first(seat.free()))
        if seat.left:
            message.goodbye.SetInParent()
            seat.said_goodbye = True
        self._held_over = set(going_on)
        return message

    def next_message(self) -> pb.StreamJobsRequest | None:
        seat = self._seat
        assert seat is not None  # noqa: S101 - `run` waits for it
        message = pb.StreamJobsRequest()
        wanted = self._outbox.fill(message)
        if not seat.left and not self._drains:
            message.credits.extend(self._credits.more(seat.free()))
        elif seat.left and not seat.said_goodbye:
            message.goodbye.SetInParent()
            seat.said_goodbye = wanted = True
        return message if wanted or message.credits else None

    @property
    def _drains(self) -> bool:
        return self._stream is not None and self._stream.drains is not None

    def moves(self) -> bool:
        return self._addresses.others_wait

    def late(self) -> Sequence[bytes]:
        late, self._late = self._late, []
        return late

    def heard(self, message: pb.StreamJobsResponse) -> None:
        if message.HasField("welcome"):
            self._welcomed, self._away = True, False
            self._addresses.reached()
            self._outbox.stream_answered()
            logger.info("connected to %s as %s", message.welcome.server or "the server", self._worker.name)
            every = message.welcome.heartbeat_every.ToTimedelta()
            if timedelta(0) < every < self.heartbeat_every:
                self._beat_often(every.total_seconds(), self._stream)
        for result in message.acks:
            self._heard_ack(result)
        for token in message.lost:
            if self._held.pop(token, None) is not None:
                self._beat.set()
        if message.leased:
            self._heard_jobs(message.leased)
        for cancel in message.cancels:
            if (held := self._held.get(cancel.token)) is not None:
                held.wish = stop_wish(cancel.wish)
                self._beat.set()

    def _beat_often(self, seconds: float, stream: JobStream | None) -> None:
        """While leases of an earlier stream go on: its server shortens them when it sees the cut, which may be after
        the new one extended them."""
        self._held_over &= self._held.keys()
        if self._held_over and self._stream is stream:
            self._beat.set()
            asyncio.get_running_loop().call_later(seconds, self._beat_often, seconds, stream)

    def _heard_jobs(self, leased: Sequence[pb.LeasedJob]) -> None:
        seat = self._seat
        assert seat is not None  # noqa: S101 - `run` waits for it
        self._clock.heard(leased[-1])
        jobs = []
        now = time.monotonic()
        for one in leased:
            job = leased_job(one)
            self._credits.used(job.type)
            if job.token in self._held:
                continue
            if self._closing.is_set():  # the runtime has ended
                self._late.append(job.token)
                continue
            if job.type not in seat.types:
                self._outbox.report(DueOutcome(_not_asked_for(job), lambda taken: None))
                self._ring()
                continue
            self._held[job.token] = _Held(job.type, now)
            job_log.begins(job)
            jobs.append(job)
        if jobs:
            seat.take(jobs)

    def _heard_ack(self, result: pb.ReportOutcomesResponse.Result) -> None:
        try:
            report = self._outbox.answered()
        except IndexError:
            raise ServerError("the server answers outcomes that were not sent") from None
        if not result.HasField("error"):
            report.answered(True)
        elif result.error.code in _PASSING:
            pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(report.tries, 10))
            report.tries += 1
            asyncio.get_running_loop().call_later(pause, self._report_again, report)
        else:
            if result.error_reason != error_reason_pb2.LEASE_LOST:
                logger.error("an outcome was refused: %s", result.error.message)
            report.answered(False)

    def _report_again(self, report: DueOutcome) -> None:
        self._outbox.report(report)
        self._ring()


class _GrpcSeat(Seat):
    """The runtime's seat: its free slots become credits."""

    def __init__(
        self,
        types: frozenset[str],
        capacity: Callable[[], FreeSlots],
        take: Callable[[Sequence[LeasedJob]], None],
        ring: Callable[[], None],
    ) -> None:
        self.types = types
        self.free = capacity
        self.take = take
        self.left = False
        self.said_goodbye = False
        self._ring = ring
        self._timer: asyncio.TimerHandle | None = None

    def widened(self) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(CREDIT_DELAY, self._give)

    def leave(self) -> None:
        self.left = True
        self._ring()

    def _give(self) -> None:
        self._timer = None
        self._ring()


async def _comes_within(seconds: float, event: asyncio.Event) -> bool:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    return True


def _not_asked_for(job: LeasedJob) -> pb.Outcome:
    """What is said of a job that no server should have sent: another worker may have a handler for it."""
    message = f"this worker has no handler for jobs of type {job.type}"
    return pb.Outcome(token=job.token, failed=pb.Outcome.Failed(type="UnknownType", message=message))
