"""Connections that are old, or lie idle, are asked to go: else whoever opens many keeps all others out."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from support.spied_store import SpiedStore
from tocsin_server.api.connections import Connections
from unit.server.api.running_api import running_api

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SETTINGS = bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))  # an empty frame
GOAWAY = 7
SHORT, LONG = timedelta(seconds=1), timedelta(hours=1)


async def asked_to_go(address: str) -> bool:
    """Speak HTTP/2 and call nothing; whether the server says GOAWAY before the connection ends."""
    host, port = address.split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(PREFACE + SETTINGS)
        while True:
            head = await reader.readexactly(9)
            await reader.readexactly(int.from_bytes(head[:3], "big"))
            if head[3] == GOAWAY:
                return True
    except asyncio.IncompleteReadError:
        return False
    finally:
        writer.close()


@pytest.mark.parametrize(
    "connections",
    [Connections(max_age=SHORT, max_idle=LONG), Connections(max_age=LONG, max_idle=SHORT)],
    ids=["old", "idle"],
)
async def test_a_connection_without_calls_is_asked_to_go(spied: SpiedStore, connections: Connections) -> None:
    async with running_api(spied, connections=connections) as api, asyncio.timeout(15):
        assert await asked_to_go(api.address)
