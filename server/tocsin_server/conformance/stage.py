"""What a check works with: a worker under test, what stands between it and the server, and jobs for it."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any, Self

import grpc
from tocsin import AsyncClient, Job, State, TocsinError
from tocsin.v1 import following_pb2, job_service_pb2_grpc

from tocsin_server.conformance.door import Door
from tocsin_server.conformance.journal import Journal, NotConforming, SeenLease
from tocsin_server.conformance.programs import Program, worker_environment
from tocsin_server.conformance.relay import Relay

LEASE = timedelta(seconds=5)  # the shortest there is
CONCURRENCY = 4
_PREFIX = "conformance."
_CONNECTS_WITHIN = 15.0  # seconds; a JVM on a busy machine needs some
_IDLE_WITHIN = 3.0


class Stage:
    """One of those of a run, known by its name; its worker may be started several times, each time on a queue of its
    own."""

    def __init__(self, command: Sequence[str], folder: Path, server: str, name: str) -> None:
        self.journal = Journal()
        self.queue = ""
        self._command, self._folder = command, folder
        self._server, self._name = server, name
        self._stack = AsyncExitStack()
        self._starts = 0
        self._worker: Program | None = None

    async def __aenter__(self) -> Self:
        self.client = await self._stack.enter_async_context(
            AsyncClient(self._server, deadline=10.0, tls=False, token="")
        )
        channel = await self._stack.enter_async_context(grpc.aio.insecure_channel(self._server))
        self._jobs = job_service_pb2_grpc.JobServiceStub(channel)
        self.relay = Relay(self._server, self.journal)
        await self.relay.open()
        self._stack.push_async_callback(self.relay.close)
        self.doors = [Door(("127.0.0.1", self.relay.port)) for _ in range(2)]
        for door in self.doors:
            await door.open()
            self._stack.push_async_callback(door.close)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.drop_worker()
        await self._stack.aclose()

    # --- the worker ---

    async def start_worker(self) -> None:
        """Start the program, on a new queue, and wait until it asks for jobs. NotConforming if it does not."""
        self._starts += 1
        self.queue = f"{self._name}-{self._starts}"
        self.journal.begin()
        for door in self.doors:
            door.unshut()
            door.flow()
        settings = {
            "TOCSIN_SERVER": ",".join(f"127.0.0.1:{door.port}" for door in self.doors),
            "TOCSIN_QUEUE": self.queue,
            "TOCSIN_CONCURRENCY": str(CONCURRENCY),
            "TOCSIN_LEASE": f"{LEASE.total_seconds():g}s",
        }
        log = self._folder / f"{self.queue}.log"
        self._worker = Program(self._command, log, worker_environment(settings))
        await self._worker.start()
        await self.journal.until(
            lambda: any(queue == self.queue for queue, _ in self.journal.asked) or self.worker_ended,
            _CONNECTS_WITHIN,
            f"it did not ask for jobs of the queue in TOCSIN_QUEUE, {self.queue}",
        )
        self.check_alive()

    @property
    def worker_ended(self) -> bool:
        """Whether its process is gone, or none was started."""
        return self._worker is None or self._worker.exit_code is not None

    def check_alive(self) -> None:
        """NotConforming if the worker's process has ended."""
        if self._worker is not None and self._worker.exit_code is not None:
            raise NotConforming(f"the worker ended by itself, with exit code {self._worker.exit_code}")

    def stand_still(self) -> None:
        """Stop the worker's processes where they are: SIGSTOP."""
        self._running().tell_all(signal.SIGSTOP)

    def go_on(self) -> None:
        """Let them go on: SIGCONT."""
        self._running().tell_all(signal.SIGCONT)

    def terminate(self) -> None:
        """SIGTERM to the worker."""
        self._running().tell(signal.SIGTERM)

    async def exit_code(self, within: float) -> int:
        """The worker's exit code. NotConforming if it does not end."""
        code = await self._running().ended(within)
        if code is None:
            raise NotConforming(f"it did not end within {within:g} s of SIGTERM")
        return code

    async def drop_worker(self) -> None:
        """Kill the worker, if one runs. Its queue's jobs are cancelled, so that they disturb no later check."""
        if self._worker is not None:
            await self._worker.kill()
            self._worker = None
            try:
                states = (State.SCHEDULED, State.WAITING, State.ACTIVE)
                await self.client.cancel_many(queue=self.queue, states=states, grace=0)
            except TocsinError:
                pass  # they stand in a queue that nobody asks for

    async def settle(self) -> bool:
        """Whether the worker has nothing more to do, so that it can serve the next check."""
        if self.worker_ended:
            return False
        try:
            await self.journal.until(lambda: self.journal.out() == 0, _IDLE_WITHIN, "")
        except NotConforming:
            return False
        return True

    def _running(self) -> Program:
        if self._worker is None:
            raise NotConforming("no worker runs")
        return self._worker

    def said(self) -> str:
        """The end of what the worker wrote."""
        return "" if self._worker is None else self._worker.said()

    # --- jobs ---

    async def schedule(self, kind: str, payload: Any = None, **options: Any) -> str:
        """Schedule a job of type `conformance.KIND`; its id. Options are the client's."""
        job = await self.client.schedule(_PREFIX + kind, payload, queue=self.queue, **options)
        return job.job_id

    async def job(self, job_id: str) -> Job:
        """The job as it stands."""
        return await self.client.get(job_id, queue=self.queue)

    async def ended(self, job_id: str, within: float, state: State | None = State.COMPLETED) -> Job:
        """The job once it has ended. NotConforming: it has not in time, or not so."""
        try:
            await self.client.wait(job_id, queue=self.queue, timeout=within)
        except TocsinError:
            self.check_alive()
            job = await self.job(job_id)
            if not job.state.ended:
                raise NotConforming(f"a job of type {job.type} is {job.state} after {within:g} s") from None
        job = await self.job(job_id)
        if state is not None and job.state is not state:
            error = f": {job.errors[-1].type}: {job.errors[-1].message}" if job.errors else ""
            raise NotConforming(f"a job of type {job.type} is {job.state}, not {state}{error}")
        return job

    async def leased(self, job_id: str, attempt: int = 1, within: float = 5.0) -> SeenLease:
        """The lease of a job's attempt, once the worker was given it."""
        return await self.journal.until(
            lambda: self.journal.of(job_id, attempt), within, f"attempt {attempt} of a job was not leased by it"
        )

    async def lines(self, job_id: str) -> list[str]:
        """The lines of log that are kept of a job."""
        lines: list[str] = []
        asked = following_pb2.ListJobLogsRequest(queue=self.queue, job_id=job_id)
        while True:
            page = await self._jobs.ListJobLogs(asked)
            lines += [entry.line.text for entry in page.lines if not entry.dropped]
            if not page.more:
                return lines
            asked.cursor = page.next_cursor

    async def running(self, job_id: str) -> SeenLease:
        """The lease of a job's first attempt, once a heartbeat shows that the worker has begun it."""
        lease = await self.leased(job_id)
        within = LEASE.total_seconds()
        await self.journal.until(lambda: lease.heartbeats, within, "it sent no heartbeat for a job that it was given")
        return lease

    async def run(self, kind: str, payload: Any = None, within: float = 5.0, **options: Any) -> Job:
        """Schedule a job and have it run to its good end."""
        return await self.ended(await self.schedule(kind, payload, **options), within)
