"""Callers, workers and holders of leases, each with the credentials that are handed out at the moment; what failed them
is kept."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import grpc
from support import worker_messages as words
from support.eventually import until_async
from tocsin import AsyncClient, Handlers, JobContext, Tls, Worker
from tocsin.v1 import worker_service_pb2_grpc

CALLER_KINDS = ("token", "jwt")
HELD, BRIEF = "held", "brief"
LEASE = 10  # seconds: so long may a busy machine keep its holder from extending it
RUNS_FOR = 1.0  # seconds that a brief job takes


@dataclass(frozen=True)
class Pass:
    """What callers show: a client certificate, and a token of each kind."""

    number: int
    tls: Tls
    tokens: dict[str, str]  # by kind of caller, and "worker"


@dataclass
class Load:
    """All who use one server. Nothing is repeated: a call that fails once is kept in `failed`."""

    address: str
    shown: Pass
    failed: list[str] = field(default_factory=list)
    calls: int = 0
    handshakes: int = 0
    _in_use: dict[str, int] = field(default_factory=dict)  # number of the pass, by who uses it
    _stop: asyncio.Event = field(default_factory=asyncio.Event)

    async def hand_out(self, **changes: object) -> None:
        """Give everybody another pass, and wait until each has been answered with it."""
        self.shown = replace(self.shown, number=self.shown.number + 1, **changes)  # type: ignore[arg-type]

        async def all_use_it() -> bool:
            return all(number >= self.shown.number for number in self._in_use.values())

        await until_async(all_use_it, within=60)

    @asynccontextmanager
    async def running(self, callers: int, holders: int) -> AsyncIterator[None]:
        """So many callers, half of them with each kind of token, so many holders of a lease each, and a worker."""
        each = [self._call(f"caller-{number}", CALLER_KINDS[number % 2]) for number in range(callers)]
        each += [self._hold(f"holder-{number}") for number in range(holders)]
        tasks = [asyncio.create_task(one) for one in (*each, self._work())]
        try:
            await self.hand_out()
            yield
        finally:
            self._stop.set()
            await asyncio.gather(*tasks)

    async def _call(self, who: str, kind: str) -> None:
        """Schedule and read, over a few calls a connection, so that each pass has its handshakes."""
        self._in_use[who] = 0
        first = None
        while not self._stop.is_set():
            shown = self.shown
            async with AsyncClient(
                self.address, tls=shown.tls, token=shown.tokens[kind], retries=False, deadline=30
            ) as client:
                self.handshakes += 1
                for _ in range(5):
                    if shown is not self.shown:
                        break
                    try:
                        text = f"{who} says {self.calls}"
                        kept = await client.schedule("kept", {"text": text}, queue="kept", delay=3600)
                        await client.schedule("brief", {"text": text}, queue=BRIEF)
                        first = first or (kept.job_id, text)
                        for job_id, wanted in ((kept.job_id, text), first):
                            payload = (await client.get(job_id, queue="kept")).payload
                            if payload != {"text": wanted}:
                                self.failed.append(f"{who}: {payload!r} is not what {job_id} was scheduled with")
                        self.calls += 4
                        self._in_use[who] = shown.number
                    except Exception as error:  # each is counted, whatever it is
                        self.failed.append(f"{who}: {error!r}")

    async def _hold(self, who: str) -> None:
        """Lease a job, and keep it until the end."""
        self._in_use[who] = 0
        tokens: list[bytes] = []
        while not self._stop.is_set():
            shown = self.shown
            async with self._worker_service(shown) as (stub, metadata):
                while not self._stop.is_set() and shown is self.shown:
                    try:
                        if not tokens:
                            asked = words.poll(HELD, "held", most=1, wait=5, lease=words.seconds(LEASE))
                            tokens = [job.token for job in (await stub.LeaseJobs(asked, metadata=metadata)).jobs]
                        answer = await stub.ExtendLeases(words.extend(*tokens, lease=LEASE), metadata=metadata)
                        self.failed += [f"{who}: {one.error}" for one in answer.results if one.HasField("error")]
                        self.calls += 1
                        self._in_use[who] = shown.number
                    except grpc.RpcError as error:
                        self.failed.append(f"{who}: {error!r}")
                    await _passes(self._stop, 0.5)
        async with self._worker_service(self.shown) as (stub, metadata):
            done = await stub.ReportOutcomes(words.report(*map(words.completed, tokens)), metadata=metadata)
            self.failed += [f"{who}: {one.error}" for one in done.results if one.HasField("error")]

    @asynccontextmanager
    async def _worker_service(
        self, shown: Pass
    ) -> AsyncIterator[tuple[worker_service_pb2_grpc.WorkerServiceStub, object]]:
        tls = shown.tls
        credentials = grpc.ssl_channel_credentials(tls.root_certificates, tls.private_key, tls.certificate_chain)
        options = [("grpc.use_local_subchannel_pool", 1)]
        async with grpc.aio.secure_channel(self.address, credentials, options=options) as channel:
            self.handshakes += 1
            metadata = (("authorization", f"Bearer {shown.tokens['worker']}"),)
            yield worker_service_pb2_grpc.WorkerServiceStub(channel), metadata

    async def _work(self) -> None:
        """Run brief jobs. For each pass a worker is started, and then the one before it is stopped."""
        self._in_use["worker"] = 0
        before: tuple[Worker, asyncio.Task[None]] | None = None
        while not self._stop.is_set():
            shown, begun = self.shown, asyncio.Event()
            worker = Worker(
                self.address,
                _brief(begun, asyncio.get_running_loop()),
                tls=shown.tls,
                token=shown.tokens["worker"],
                lease=LEASE,
                queues=[BRIEF],
                name=f"w{shown.number}",
            )
            running = asyncio.create_task(worker.run_async())
            await asyncio.wait({asyncio.create_task(begun.wait()), running}, return_when=asyncio.FIRST_COMPLETED)
            if before is not None:
                before[0].stop()
                await self._ended(before[1])
            before = worker, running
            self._in_use["worker"] = shown.number
            await until_async(self._outrun(shown, running), within=600)
        if before is not None:
            before[0].stop()
            await self._ended(before[1])

    def _outrun(self, shown: Pass, running: asyncio.Task[None]) -> Callable[[], Awaitable[bool]]:
        async def outrun() -> bool:
            return shown is not self.shown or self._stop.is_set() or running.done()

        return outrun

    async def _ended(self, running: asyncio.Task[None]) -> None:
        try:
            await running
        except Exception as error:  # each is counted, whatever it is
            self.failed.append(f"worker: {error!r}")


def _brief(begun: asyncio.Event, loop: asyncio.AbstractEventLoop) -> Handlers:
    handlers = Handlers()

    @handlers.on("brief")
    async def brief(job: JobContext) -> None:
        loop.call_soon_threadsafe(begun.set)
        await _passes(asyncio.Event(), RUNS_FOR)

    return handlers


async def _passes(event: asyncio.Event, seconds: float) -> None:
    """Wait for an event, so long at most."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
