"""The endpoint speaks HTTP to scrapers, and lets nobody hold it up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress

import pytest
from tocsin_server.telemetry import metrics_endpoint
from tocsin_server.telemetry.metrics_endpoint import CannotServeMetrics, MetricsEndpoint

CUT = ("", b"")
Ask = Callable[[bytes], Awaitable[tuple[str, bytes]]]


async def gone(writer: asyncio.StreamWriter) -> None:
    """Close a connection, to its end."""
    writer.close()
    with suppress(ConnectionError):
        await writer.wait_closed()


@pytest.fixture
async def address() -> AsyncIterator[tuple[str, int]]:
    endpoint = MetricsEndpoint("127.0.0.1:0", lambda: "up 1\n")
    host, _, port = (await endpoint.start()).rpartition(":")
    yield host, int(port)
    await endpoint.close()


@pytest.fixture
def ask(address: tuple[str, int]) -> Ask:
    async def ask(request: bytes) -> tuple[str, bytes]:
        """The status line and the body of the answer; nothing where the connection is cut."""
        reader, writer = await asyncio.open_connection(*address)
        writer.write(request)
        async with asyncio.timeout(10):
            try:
                head, _, body = (await reader.read()).partition(b"\r\n\r\n")
            except ConnectionError:
                head, body = b"", b""
        await gone(writer)
        return head.partition(b"\r\n")[0].decode(), body

    return ask


@pytest.mark.parametrize("target", [b"/metrics", b"/metrics?name[]=up"])
async def test_metrics_are_served(ask: Ask, target: bytes) -> None:
    assert await ask(b"GET " + target + b" HTTP/1.1\r\nHost: x\r\n\r\n") == ("HTTP/1.1 200 OK", b"up 1\n")
    assert await ask(b"HEAD " + target + b" HTTP/1.1\r\nHost: x\r\n\r\n") == ("HTTP/1.1 200 OK", b"")


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", "404 Not Found"),
        (b"GET /metrics/../x HTTP/1.1\r\n\r\n", "404 Not Found"),
        (b"POST /metrics HTTP/1.1\r\nContent-Length: 0\r\n\r\n", "405 Method Not Allowed"),
        (b"nonsense\r\n\r\n", "400 Bad Request"),
        (b"GET /metrics HTTP/2\r\n\r\n", "400 Bad Request"),
        (b"\x00\xff\r\n\r\n", "400 Bad Request"),
    ],
)
async def test_what_is_no_scrape_is_refused(ask: Ask, request_: bytes, status: str) -> None:
    assert (await ask(request_))[0] == f"HTTP/1.1 {status}"


async def test_whoever_sends_nothing_is_cut_off(
    address: tuple[str, int], ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics_endpoint, "_WITHIN", 0.2)
    silent, writer = await asyncio.open_connection(*address)
    assert (await ask(b"GET /metrics HTTP/1.1\r\n\r\n"))[0] == "HTTP/1.1 200 OK"
    async with asyncio.timeout(10):
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await silent.readexactly(1)
    await gone(writer)


async def test_a_head_without_end_is_cut_off(address: tuple[str, int], ask: Ask) -> None:
    assert await ask(b"GET /metrics HTTP/1.1\r\nX: " + b"x" * 40_000) == CUT
    assert (await ask(b"GET /metrics HTTP/1.1\r\n\r\n"))[0] == "HTTP/1.1 200 OK"


async def test_too_many_at_once_are_cut_and_others_are_served_when_those_are_gone(
    address: tuple[str, int], ask: Ask
) -> None:
    silent = [await asyncio.open_connection(*address) for _ in range(metrics_endpoint._CONNECTIONS)]
    assert await ask(b"GET /metrics HTTP/1.1\r\n\r\n") == CUT
    for _, writer in silent:
        await gone(writer)
    assert (await ask(b"GET /metrics HTTP/1.1\r\n\r\n"))[0] == "HTTP/1.1 200 OK"


async def test_a_fault_is_told_without_its_words(ask: Ask) -> None:
    def fail() -> str:
        raise RuntimeError("planted")

    endpoint = MetricsEndpoint("127.0.0.1:0", fail)
    host, _, port = (await endpoint.start()).rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"GET /metrics HTTP/1.1\r\n\r\n")
    answer = await reader.read()
    await gone(writer)
    await endpoint.close()
    assert answer.startswith(b"HTTP/1.1 500 ")
    assert b"planted" not in answer


async def test_an_address_that_is_taken_is_said_in_one_line(address: tuple[str, int]) -> None:
    listen = f"{address[0]}:{address[1]}"
    with pytest.raises(CannotServeMetrics, match=f"cannot listen on {listen} for metrics: .*metrics.listen"):
        await MetricsEndpoint(listen, str).start()


async def test_closing_waits_for_nobody() -> None:
    endpoint = MetricsEndpoint("127.0.0.1:0", str)
    host, _, port = (await endpoint.start()).rpartition(":")
    _, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"GET ")
    await writer.drain()
    async with asyncio.timeout(5):
        await endpoint.close()
    await gone(writer)
