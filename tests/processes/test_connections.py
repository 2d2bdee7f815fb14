"""Connections that end by their age are not seen by who uses the client, and a public address is warned of."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from support.redis_parts import RedisPart
from support.servers import Server
from support.stores import store_settings
from tocsin import AsyncClient, State

PUBLIC = "can be reached from other machines"


async def test_nothing_is_seen_of_connections_that_end_by_their_age(
    redis: RedisPart, serve: Callable[..., Server]
) -> None:
    server = serve(redis.url, "--no-dispatch", TOCSIN_CONNECTIONS__MAX_AGE="2s", TOCSIN_CONNECTIONS__MAX_AGE_GRACE="1s")
    seen: list[str] = []
    watching = asyncio.Event()
    async with AsyncClient(server.address) as client:
        stands = await client.schedule("t", queue="q", job_id="last", delay=3600)

        async def watch() -> None:
            async for change in client.watch(queue="q"):
                assert not change.gap, "changes were missed"
                assert change.job is not None
                if change.job.job_id == "last":
                    return
                seen.append(change.job.job_id)
                watching.set()

        watched = asyncio.create_task(watch())
        waited = asyncio.create_task(client.wait("last", queue="q", timeout=60))
        number = 0
        while not watching.is_set():  # until the watch stands
            await client.schedule("t", queue="q", job_id=f"before{number}", delay=3600)
            number += 1
        began, asked = asyncio.get_running_loop().time(), 0
        while asyncio.get_running_loop().time() - began < 8 or asked < 500:
            # Each once, and without an id that would let it be repeated: none of them may be lost.
            await client.schedule("t", queue="q", job_id=f"during{asked}", delay=3600)
            assert (await client.get(stands, queue="q")).state is State.SCHEDULED
            asked += 2
        await client.cancel("last", queue="q")
        await asyncio.wait_for(watched, 30)
        assert (await waited).state is State.CANCELLED
    assert [name for name in seen if name.startswith("during")] == [f"during{n}" for n in range(0, asked, 2)]


@pytest.mark.parametrize(("host", "warned"), [("0.0.0.0", True), ("127.0.0.1", False), ("localhost", False)])
def test_an_address_that_others_can_reach_is_warned_of(
    redis: RedisPart, tmp_path: Path, host: str, warned: bool
) -> None:
    server = Server(tmp_path, env={**store_settings(redis.url), "TOCSIN_LOG__FORMAT": "json"})
    server.flags = ["--no-dispatch", "--listen", f"{host}:{server.port}"]  # the later --listen holds
    try:
        server.start()
    finally:
        server.kill()
    lines = [json.loads(line) for line in server.log.read_text().splitlines()]
    warnings = [line["event"] for line in lines if line["level"] == "warning" and PUBLIC in line["event"]]
    assert len(warnings) == warned
    if warned:
        assert f"{host}:{server.port}" in warnings[0]
        assert "Listen on 127.0.0.1" in warnings[0]
