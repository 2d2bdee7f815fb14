"""The limits beside which a server's figures are read: an empty gRPC call, and the bare Lua scripts."""

from __future__ import annotations

import asyncio
import multiprocessing
import secrets
import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import grpc
from support.redis_backend import RedisBackend
from tocsin_server.domain.defaults import SERVER_DEFAULTS, UNSET, JobRequest, terms
from tocsin_server.domain.job import Payload
from tocsin_server.domain.lease import AttemptOutcome, Ending
from tocsin_server.store.redis.connection.connection import RedisConnection
from tocsin_server.store.redis.store import RedisStore

from bench.bed import REDIS_OPTIONS, flying
from bench.figures import Sample, Span, processor_seconds

with suppress(ImportError):  # not on Windows
    import uvloop


def _echo(ready: Connection) -> None:
    async def serve() -> None:
        async def answer(request: bytes, _: Any) -> bytes:
            return request

        server = grpc.aio.server()
        handler = grpc.unary_unary_rpc_method_handler(answer)
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("bench.Echo", {"Echo": handler}),))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        ready.send(port)
        await server.wait_for_termination()

    uvloop.run(serve())


async def echo(calls: int) -> dict[str, Sample]:
    """Empty calls a second at 64 in flight, to a grpc.aio server on uvloop in a process of its own."""
    spawn = multiprocessing.get_context("spawn")
    here, there = spawn.Pipe()
    process = spawn.Process(target=_echo, args=(there,), daemon=True)
    process.start()
    try:
        port = await asyncio.to_thread(here.recv)
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            call = channel.unary_unary("/bench.Echo/Echo")
            body = bytes(150)
            await flying(64, [lambda: call(body)] * 200)
            assert process.pid is not None
            with Span(calls, partial(processor_seconds, process.pid), lambda: 0.0) as span:
                await flying(64, [lambda: call(body)] * calls)
    finally:
        process.kill()
        process.join()
    return {"limit: empty gRPC calls/s": Sample(span.rate.value, span.rate.server_us)}


class _Tape(RedisConnection):
    """A connection that keeps what was asked, to ask the same again without the code around it."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.scripts: list[tuple[Any, ...]] = []

    async def execute(self, *args: Any, read_only: bool = False) -> Any:
        if args[0] == "EVALSHA":
            self.scripts.append(args)
        return await super().execute(*args, read_only=read_only)

    def take(self) -> list[tuple[Any, ...]]:
        """What was kept since the last time."""
        taken, self.scripts = self.scripts, []
        return taken


async def _recorded(url: str, jobs: int) -> dict[str, list[tuple[Any, ...]]]:
    """The script calls of adding, claiming and finishing so many jobs, batches as the server makes them."""
    tape = _Tape(url)
    store = RedisStore(tape)
    await store.open()
    asked = JobRequest("bench", "noop", Payload(10, bytes(110)))
    tape.take()
    await store.add([asked.draft(terms(UNSET, SERVER_DEFAULTS))] * jobs)
    calls = {"add": tape.take()}
    leases = []
    while len(leases) < jobs:
        claim = await store.claim("bench", {"noop": 100}, 100, lease=timedelta(hours=1), request=secrets.token_bytes(8))
        leases += [claimed.lease for claimed in claim.claimed]
    calls["claim"] = tape.take()
    for start in range(0, jobs, 100):
        await store.finish([AttemptOutcome(lease, Ending.COMPLETED) for lease in leases[start : start + 100]])
    calls["finish"] = tape.take()
    await store.close()
    return calls


async def scripts(folder: Path, jobs: int) -> dict[str, Sample]:
    """The bare scripts, one caller, the same batches: 200 adds, 100 claims, 100 finishes a call."""
    with RedisBackend(folder, *REDIS_OPTIONS) as redis:
        calls = await _recorded(redis.url, jobs)
        redis.client.flushall()
        return {
            f"limit: bare script {name}, jobs/s": await asyncio.to_thread(_replay, redis, asked, jobs)
            for name, asked in calls.items()
        }


def _replay(redis: RedisBackend, calls: Sequence[tuple[Any, ...]], jobs: int) -> Sample:
    def spent() -> float:
        cpu = redis.client.info("cpu")
        return float(cpu["used_cpu_user"]) + float(cpu["used_cpu_sys"])

    before, begun = spent(), time.perf_counter()
    for call in calls:
        redis.client.execute_command(*call)
    took = time.perf_counter() - begun
    return Sample(jobs / took, None, (spent() - before) * 1e6 / jobs)
