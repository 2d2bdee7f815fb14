"""Pages that stay up to date: what they show is drawn once every few seconds for all who watch the same, and sent where
it has changed. A watcher that reads slowly misses pictures, and nothing piles up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import sha256

import structlog
from tocsin import PermissionDenied, TocsinError, Unauthenticated

from tocsin_server.web.calling import is_away

_log: structlog.typing.FilteringBoundLogger = structlog.get_logger("tocsin.server")

#: Seconds between two pictures, and more of them for each further feed, so that many feeds are no burden.
_EVERY, _EVERY_BY_FEED = 2.0, 0.05
#: Seconds after which something is sent, so that proxies do not take the stream for dead; and after which a browser has
#: to come again, so that one that went away without a word is forgotten.
_PING, _LIFE = 15.0, 1800.0

#: Said to whoever has to log in anew, as the last event.
LOG_IN = b"event: login\ndata: \n\n"

Draw = Callable[[], Awaitable[str]]


class TooManyStreams(Exception):
    """As many pages are kept up to date as may be."""


@dataclass(slots=True, eq=False)
class _Feed:
    """What all who watch the same are sent."""

    draw: Draw
    watchers: int = 0
    number: int = 0  # of the event, from 1 on
    event: bytes = b""
    drawn: str = ""  # a hash of the picture
    news: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None
    over: bool = False


class Live:
    """All feeds of a server."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._feeds: dict[str, _Feed] = {}
        self._open = 0
        self._closed = False

    async def close(self) -> None:
        """End all streams."""
        self._closed = True
        feeds = list(self._feeds.values())
        for feed in feeds:
            _end(feed)
        tasks = [feed.task for feed in feeds if feed.task is not None]
        if tasks:
            await asyncio.wait(tasks)

    def check_room(self) -> None:
        """TooManyStreams."""
        if self._full:
            raise TooManyStreams

    @property
    def _full(self) -> bool:
        return self._closed or self._open >= self._most

    async def watch(self, key: str, draw: Draw) -> AsyncIterator[bytes]:
        """Events of server-sent events, the first at once. `draw` gives the picture, as HTML, to all who have `key`.
        None where others took the last room since it was asked for: the answer has begun, and can only end."""
        if self._full:
            return
        loop = asyncio.get_running_loop()
        feed = self._feeds.get(key)
        if feed is None:
            feed = self._feeds[key] = _Feed(draw)
            feed.task = asyncio.create_task(self._keep_drawn(feed), name="dashboard-feed")
        feed.watchers += 1
        self._open += 1
        try:
            seen, until = 0, loop.time() + _LIFE
            yield b"retry: 3000\n\n"
            while not feed.over and loop.time() < until:
                if feed.number > seen:
                    seen = feed.number
                    yield feed.event
                    continue
                try:
                    async with asyncio.timeout(_PING):
                        await feed.news.wait()
                except TimeoutError:
                    yield b": here\n\n"
            if feed.over and feed.number > seen:
                yield feed.event
        finally:
            self._open -= 1
            feed.watchers -= 1
            if not feed.watchers and self._feeds.get(key) is feed:
                del self._feeds[key]
                _end(feed)

    async def _keep_drawn(self, feed: _Feed) -> None:
        while not feed.over:
            try:
                html = await feed.draw()
                self._say(feed, "picture", html)
            except (Unauthenticated, PermissionDenied):
                self._say(feed, "login", "")
                feed.over = True
            except TocsinError as error:
                self._say(feed, "away" if is_away(error) else "trouble", error.message)
            except asyncio.CancelledError:
                raise
            except Exception:  # a fault of ours must not stop the page for good
                _log.exception("dashboard_failed")
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(_EVERY + _EVERY_BY_FEED * len(self._feeds))

    def _say(self, feed: _Feed, event: str, text: str) -> None:
        drawn = sha256(f"{event}\n{text}".encode()).hexdigest()
        if drawn == feed.drawn:
            return
        lines = "".join(f"data: {line}\n" for line in text.splitlines() or [""])
        feed.drawn, feed.event = drawn, f"event: {event}\n{lines}\n".encode()
        feed.number += 1
        news, feed.news = feed.news, asyncio.Event()
        news.set()


def _end(feed: _Feed) -> None:
    feed.over = True
    feed.news.set()
    if feed.task is not None:
        feed.task.cancel()
