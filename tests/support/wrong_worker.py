"""A small worker on nothing but the stubs, right or wrong in one way: `python -m support.wrong_worker FAULT`.

The faults: "none"; "ignores_cancel"; "stale_token", which knows attempts by their job, and so reports the second with
the token of the first while that still runs; "too_many", which gives more credits than it has slots, once nothing runs.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import signal
import sys
from collections import deque
from collections.abc import AsyncIterator
from typing import Any

import grpc
from google.protobuf import json_format
from tocsin.v1 import worker_service_pb2 as pb
from tocsin.v1 import worker_service_pb2_grpc

SLOTS = int(os.environ["TOCSIN_CONCURRENCY"])
LEASE = int(os.environ["TOCSIN_LEASE"].removesuffix("s"))
TYPES = [f"conformance.{name}" for name in ("echo", "digest", "sleep", "fail", "release", "progress", "log")]


class Release(Exception):
    """The attempt is given back."""


class WrongWorker:
    """See above. `held` has attempts by token, or with the fault "stale_token" by job, as nobody should."""

    def __init__(self, fault: str) -> None:
        self.fault = fault
        self.tokens: dict[str, bytes] = {}  # of jobs; each attempt's own, but for who has the fault
        self.running: dict[bytes, asyncio.Task[None]] = {}
        self.why: dict[bytes, Exception] = {}
        self.said: dict[bytes, pb.Heartbeat] = {}
        self.lost: set[bytes] = set()
        self.ended: deque[pb.Outcome] = deque()
        self.credits = 0
        self.excess = 0  # credits that it has no slots for
        self.sent = 0
        self.stopping = False
        self.queue: asyncio.Queue[pb.StreamJobsRequest | None] | None = None

    async def run(self) -> None:
        """Until SIGTERM, and all is done."""
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, self._stop)
        servers = os.environ["TOCSIN_SERVER"].split(",")
        turn = 0
        while not self._done():
            with contextlib.suppress(grpc.aio.AioRpcError):
                await self._stream(servers[turn % len(servers)])
            turn += 1
            if not self._done():
                await asyncio.sleep(0.2)

    def _done(self) -> bool:
        return self.stopping and not self.running and not self.ended

    async def _stream(self, server: str) -> None:
        self.queue = queue = asyncio.Queue[pb.StreamJobsRequest | None]()
        async with grpc.aio.insecure_channel(server) as channel:
            call = worker_service_pb2_grpc.WorkerServiceStub(channel).StreamJobs(self._requests(queue))
            hello = pb.StreamJobsRequest.Hello(held_tokens=[token for token in self.running if token not in self.lost])
            hello.worker.name, hello.worker.language = f"wrong-{os.getpid()}", "python"
            hello.lease.FromSeconds(LEASE)
            hello.asks.add(queue=os.environ["TOCSIN_QUEUE"], types=TYPES)
            queue.put_nowait(pb.StreamJobsRequest(hello=hello))
            self.credits = SLOTS - len(self.running)
            self.excess = 3 if self.fault == "too_many" else 0
            self.sent = 0
            if self.stopping:
                queue.put_nowait(pb.StreamJobsRequest(goodbye={}))
            self._flush()
            beating = asyncio.create_task(self._beat())
            try:
                async for message in call:
                    self._hear(message)
                    if message.HasField("drain"):
                        return
            finally:
                beating.cancel()
                self.queue = None

    async def _requests(self, queue: asyncio.Queue[pb.StreamJobsRequest | None]) -> AsyncIterator[pb.StreamJobsRequest]:
        while message := await queue.get():
            yield message

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(LEASE / 3)
            beats = [
                self.said.pop(token, pb.Heartbeat(token=token)) for token in self.running if token not in self.lost
            ]
            if self.queue is not None and beats:
                self.queue.put_nowait(pb.StreamJobsRequest(heartbeats=beats))

    def _hear(self, message: pb.StreamJobsResponse) -> None:
        for leased in message.leased:
            if leased.token not in self.running:
                self.running[leased.token] = asyncio.create_task(self._attempt(leased))
        for cancel in message.cancels:
            if self.fault != "ignores_cancel":
                self._end(cancel.token, Release("cancelled"))
        for token in message.lost:
            self.lost.add(token)
            self._end(token, Release("lost"))
        for ack in message.acks:
            outcome = self.ended.popleft()
            self.sent -= 1
            if ack.error.code == grpc.StatusCode.UNAVAILABLE.value[0]:
                self.ended.append(outcome)
            elif ack.HasField("error"):
                sys.stderr.write(f"not taken: {ack.error.message}\n")
        self._flush()

    def _end(self, token: bytes, why: Exception) -> None:
        if token in self.running:
            self.why.setdefault(token, why)
            self.running[token].cancel()

    def _flush(self) -> None:
        if self.queue is None:
            return
        if not self.running:
            self.credits, self.excess = self.credits + self.excess, 0
        message = pb.StreamJobsRequest(outcomes=list(self.ended)[self.sent :])
        if self.credits > 0 and not self.stopping:
            message.credits.add(n=self.credits)
            self.credits = 0
        self.sent = len(self.ended)
        if message.ByteSize():
            self.queue.put_nowait(message)
        if self._done():
            self.queue.put_nowait(None)

    def _stop(self) -> None:
        self.stopping = True
        if self.queue is not None:
            self.queue.put_nowait(pb.StreamJobsRequest(goodbye={}))
        self._flush()

    # --- attempts ---

    async def _attempt(self, leased: pb.LeasedJob) -> None:
        token, job = leased.token, leased.job
        known = self.tokens.setdefault(job.job_id, token) if self.fault == "stale_token" else token
        outcome = pb.Outcome(token=known)
        limit = job.spec.timeout.ToTimedelta().total_seconds() if job.spec.HasField("timeout") else None
        try:
            async with asyncio.timeout(limit):
                outcome.completed.SetInParent()
                await self._handle(leased, outcome)
        except TimeoutError:
            outcome.failed.type = "TIMEOUT"
        except Release as release:
            outcome.released.reason = str(release)
        except asyncio.CancelledError:
            outcome.released.reason = str(self.why[token])
        self.tokens.pop(job.job_id, None)
        del self.running[token]
        self.credits += 1
        if (beat := self.said.pop(token, None)) and self.queue is not None:
            for start in range(0, max(1, len(beat.log)), 1000):
                part = pb.Heartbeat(token=token, log=beat.log[start : start + 1000])
                if beat.HasField("progress"):
                    part.progress.CopyFrom(beat.progress)
                self.queue.put_nowait(pb.StreamJobsRequest(heartbeats=[part]))
        if token not in self.lost:
            self.ended.append(outcome)
        self._flush()

    async def _handle(self, leased: pb.LeasedJob, outcome: pb.Outcome) -> None:
        spec, attempt = leased.job.spec, leased.job.attempt
        data: dict[str, Any] = json_format.MessageToDict(spec.data)
        result = outcome.completed.result
        kind = spec.type.removeprefix("conformance.")
        if kind == "echo" and spec.HasField("raw"):
            result.raw.CopyFrom(spec.raw)
        elif kind == "echo":
            result.data.struct_value.CopyFrom(spec.data)
        elif kind == "digest":
            result.data.string_value = hashlib.sha256(spec.raw.body).hexdigest()
        elif kind == "sleep":
            await asyncio.sleep(data["ms"] / 1000)
        elif kind == "fail" and not 0 < data.get("attempts", 0) < attempt:
            outcome.failed.type, outcome.failed.message = data["type"], data["message"]
            outcome.failed.final = data.get("final", False)
            if wait := data.get("retry_in_ms"):
                outcome.failed.retry_at.GetCurrentTime()
                outcome.failed.retry_at.FromMilliseconds(int(outcome.failed.retry_at.ToMilliseconds() + wait))
        elif kind == "release" and attempt == 1:
            raise Release("not now")
        elif kind == "progress":
            for step in range(1, int(data["steps"]) + 1):
                beat = self.said.setdefault(leased.token, pb.Heartbeat(token=leased.token))
                beat.progress.fraction = step / data["steps"]
                beat.progress.message = f"step {step} of {data['steps']:g}"
                await asyncio.sleep(data["ms"] / 1000)
        elif kind == "log":
            beat = self.said.setdefault(leased.token, pb.Heartbeat(token=leased.token))
            for line in range(1, int(data["lines"]) + 1):
                beat.log.add(text=f"line {line} " + "ö" * int((data["bytes"] - 10) / 2))
        elif kind not in ("fail", "release"):
            outcome.failed.type = "UnknownType"


if __name__ == "__main__":
    asyncio.run(WrongWorker(sys.argv[1]).run())
