"""Serves the metrics over HTTP/1.1, to a scraper. One path, one method, a connection each time."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

import structlog

_log: structlog.typing.FilteringBoundLogger = structlog.get_logger("tocsin.server")

PATH = "/metrics"

#: Bytes of a request's head, and seconds in which it must have come and its answer must have been read.
_HEAD_BYTES, _WITHIN = 16 << 10, 10.0

#: Connections at once; further ones are cut. Scrapers have one each.
_CONNECTIONS = 32

_CONTENT = "text/plain; version=0.0.4; charset=utf-8"


class CannotServeMetrics(Exception):
    """The address cannot be listened on. The message is one line."""


class MetricsEndpoint:
    """Answers GET /metrics with what `text` returns. listen: host:port, port 0 takes a free one."""

    def __init__(self, listen: str, text: Callable[[], str]) -> None:
        self._listen = listen
        self._text = text
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.Task[None]] = set()

    async def start(self) -> str:
        """Listen; the address, host:port. CannotServeMetrics."""
        host, _, port = self._listen.rpartition(":")
        try:
            self._server = await asyncio.start_server(self._serve, host.strip("[]"), int(port), limit=_HEAD_BYTES)
        except (OSError, OverflowError) as error:
            why = getattr(error, "strerror", None) or error
            raise CannotServeMetrics(
                f"cannot listen on {self._listen} for metrics: {why}; name another address as metrics.listen"
            ) from error
        return f"{host}:{self._server.sockets[0].getsockname()[1]}"

    async def close(self) -> None:
        """Listen no more, and cut what is open."""
        if self._server is not None:
            self._server.close()
            for task in self._open:
                task.cancel()
            if self._open:
                await asyncio.wait(self._open)
            await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a connection is served by a task
        self._open.add(task)
        try:
            if len(self._open) > _CONNECTIONS:
                writer.transport.abort()
                return
            async with asyncio.timeout(_WITHIN):
                writer.write(self._answer(await reader.readuntil(b"\r\n\r\n")))
                await writer.drain()
        except (
            *(TimeoutError, ConnectionError, asyncio.CancelledError),
            *(asyncio.IncompleteReadError, asyncio.LimitOverrunError),
        ):
            writer.transport.abort()
        finally:
            self._open.discard(task)
            writer.close()
            with contextlib.suppress(ConnectionError, asyncio.CancelledError):
                await writer.wait_closed()

    def _answer(self, head: bytes) -> bytes:
        words = head.split(b"\r\n", 1)[0].split(b" ")
        if len(words) != 3 or not words[2].startswith(b"HTTP/1."):
            return _answer("400 Bad Request", "speak HTTP/1.1\n")
        method, target, _ = words
        if target.partition(b"?")[0] != PATH.encode():
            return _answer("404 Not Found", f"there is {PATH} only\n")
        if method not in (b"GET", b"HEAD"):
            return _answer("405 Method Not Allowed", "GET it\n", allow="Allow: GET, HEAD\r\n")
        try:
            text = self._text()
        except Exception:
            _log.exception("metrics_failed")
            return _answer("500 Internal Server Error", "a fault of ours: see the server's log\n")
        answer = _answer("200 OK", text, _CONTENT)
        return answer if method == b"GET" else answer[: answer.index(b"\r\n\r\n") + 4]


def _answer(status: str, text: str, content: str = "text/plain; charset=utf-8", *, allow: str = "") -> bytes:
    body = text.encode()
    head = (
        f"HTTP/1.1 {status}\r\nContent-Type: {content}\r\nContent-Length: {len(body)}\r\n"
        f"X-Content-Type-Options: nosniff\r\n{allow}Connection: close\r\n\r\n"
    )
    return head.encode() + body
