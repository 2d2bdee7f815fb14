"""The door before the relay cuts, keeps out, and makes stand still."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from tocsin_server.conformance.door import Door


@pytest.fixture
async def echoing() -> AsyncIterator[Door]:
    """A door before a server that sends back what it is sent."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(100):
            writer.write(data)
        writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    door = Door(server.sockets[0].getsockname())
    await door.open()
    yield door
    await door.close()
    server.close()


async def said_back(door: Door) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", door.port)
    writer.write(b"here?")
    assert await reader.readexactly(5) == b"here?"
    return reader, writer


async def ended(reader: asyncio.StreamReader) -> bool:
    try:
        return await reader.read(1) == b""
    except ConnectionError:
        return True


async def test_a_cut_ends_what_stands_and_lets_new_ones_in(echoing: Door) -> None:
    reader, writer = await said_back(echoing)
    echoing.cut()
    assert await ended(reader)
    writer.close()
    _, again = await said_back(echoing)
    again.close()


async def test_shut_it_lets_nobody_in(echoing: Door) -> None:
    echoing.shut()
    reader, writer = await asyncio.open_connection("127.0.0.1", echoing.port)
    assert await ended(reader)
    writer.close()
    echoing.unshut()
    _, again = await said_back(echoing)
    again.close()


async def test_held_what_the_server_sends_waits(echoing: Door) -> None:
    reader, writer = await said_back(echoing)
    echoing.hold()
    writer.write(b"late")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await reader.readexactly(4)
    echoing.flow()
    assert await reader.readexactly(4) == b"late"
    writer.close()
