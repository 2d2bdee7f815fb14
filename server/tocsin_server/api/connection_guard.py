"""Closes connections where there are too many of them: those beyond a client's share, and those that nobody speaks on
while descriptors run short.

grpc accepts whatever comes, and shows neither how many connections there are nor how to close one. So the kernel is
asked, once a second: which of this process's sockets belong to the port, whose they are, and how much was ever heard on
each. What is closed here, grpc sees closed by its client.

It can tell those that never called while there is no TLS: with it, a handshake alone is as long as a call.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import struct
import sys
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import structlog

from tocsin_server.background import Loop

_EVERY: Final = 1.0  # seconds between two looks
_TOLD_EVERY: Final = 10.0  # seconds between two lines in the log

#: Descriptors that are raised to at most, and those that are left to everything but connections.
_ENOUGH, _RESERVE = 65_536, 256
#: Share of the room from which on connections that never called are closed.
_CROWDED = 0.5

# Bytes: a client's preface and settings have some 100, with its first call some 300.
_NEVER_CALLED = 160
_GRACE_MS = 1_000  # a connection gets so long to say something

_OWN_SOCKETS = Path("/proc/self/fd")
# struct tcp_info of Linux 4.1 and later: the time since data came, in ms, and the bytes that ever came.
_LAST_HEARD, _BYTES_HEARD, _INFO_BYTES = 52, 128, 136


def room_for_connections() -> int:
    """How many connections there is room for, after as many descriptors as the system allows were asked for."""
    if sys.platform == "win32":
        return _ENOUGH
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _ENOUGH if hard == resource.RLIM_INFINITY else min(hard, _ENOUGH)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(ValueError, OSError):  # a system that allows less than it says
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            soft = wanted
    most = _ENOUGH if soft == resource.RLIM_INFINITY else soft
    return max(most - max(_RESERVE, most // 8), most // 4)


@dataclass(frozen=True, slots=True)
class _Connection:
    descriptor: int
    socket: tuple[int, int]  # what the descriptor leads to: another one may have its number a moment later
    client: str
    port: int  # of the client
    heard: int  # bytes
    silent_ms: int  # since the last of them, or since it was made


@dataclass(slots=True)
class ConnectionGuard:
    """Looks after the connections of a port from `start` to `close`."""

    port: int
    room: int  # for connections
    per_address: int | None  # connections of one client; None: any number
    _closed: int = 0
    _told: float = field(default=-_TOLD_EVERY)
    _loop: Loop = field(init=False)

    def __post_init__(self) -> None:
        self._loop = Loop(self._watch, "connection-guard")

    def start(self) -> None:
        """Begin to look, where the kernel can be asked."""
        if sys.platform == "linux":
            self._loop.start()

    async def close(self) -> None:
        """Look no more."""
        await self._loop.close()

    async def _watch(self) -> None:
        log: structlog.typing.FilteringBoundLogger = structlog.get_logger("tocsin_server.api")
        spare = _Spare()
        try:
            while True:
                await asyncio.sleep(_EVERY)
                # A few microseconds a connection: not on the loop.
                closed = await asyncio.to_thread(self._look, spare)
                self._closed += closed
                now = asyncio.get_running_loop().time()
                if self._closed and now - self._told >= _TOLD_EVERY:
                    log.warning("connections closed", closed=self._closed, room=self.room, per_address=self.per_address)
                    self._closed, self._told = 0, now
        finally:
            spare.release()

    def _look(self, spare: _Spare) -> int:
        """Close what is too much; how many that were."""
        spare.release()  # to look takes descriptors, and there may be none left
        try:
            with os.scandir(_OWN_SOCKETS) as entries:
                descriptors = [int(entry.name) for entry in entries]
            crowded = len(descriptors) >= self.room * _CROWDED
            if not crowded and (self.per_address is None or len(descriptors) <= self.per_address):
                return 0
            ours = [found for number in descriptors if (found := _connection(number, self.port)) is not None]
            return sum(_shut(connection) for connection in self._too_many(ours, crowded=crowded))
        except OSError:  # all descriptors are taken this moment: the next look is in a second
            return 0
        finally:
            spare.hold()

    def _too_many(self, ours: Iterable[_Connection], *, crowded: bool) -> Sequence[_Connection]:
        by_client: defaultdict[str, list[_Connection]] = defaultdict(list)
        closing = []
        for connection in ours:
            if crowded and connection.heard < _NEVER_CALLED and connection.silent_ms >= _GRACE_MS:
                closing.append(connection)
            else:
                by_client[connection.client].append(connection)
        if self.per_address is not None:
            for several in by_client.values():
                # What was heard of most stays: it has called, and it has stood for longer as a rule.
                several.sort(key=lambda connection: connection.heard, reverse=True)
                closing += several[self.per_address :]
        return closing


class _Spare:
    """Descriptors that are held for a look."""

    def __init__(self) -> None:
        self._held: list[int] = []
        self.hold()

    def hold(self) -> None:
        with contextlib.suppress(OSError):
            while len(self._held) < 2:
                self._held.append(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))

    def release(self) -> None:
        while self._held:
            os.close(self._held.pop())


def _connection(descriptor: int, port: int) -> _Connection | None:
    """The connection behind a descriptor; None where it is none to this port."""
    found = _copied(descriptor)
    if found is None:
        return None
    with found:
        try:
            if found.family not in (socket.AF_INET, socket.AF_INET6) or found.getsockname()[1] != port:
                return None
            client, client_port = found.getpeername()[:2]  # not that which listens
            info = found.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _INFO_BYTES)
        except OSError:
            return None
        if len(info) < _INFO_BYTES:
            return None
        [silent] = struct.unpack_from("I", info, _LAST_HEARD)
        [heard] = struct.unpack_from("Q", info, _BYTES_HEARD)
        return _Connection(descriptor, _identity(found), client.removeprefix("::ffff:"), client_port, heard, silent)


def _shut(connection: _Connection) -> bool:
    """Whether it was still there."""
    found = _copied(connection.descriptor)
    if found is None:
        return False
    with found:
        if _identity(found) != connection.socket:
            return False
        try:
            found.shutdown(socket.SHUT_RDWR)
        except OSError:
            return False
        return True


def _identity(found: socket.socket) -> tuple[int, int]:
    status = os.fstat(found.fileno())
    return status.st_dev, status.st_ino


def _copied(descriptor: int) -> socket.socket | None:
    """A socket of its own over the same connection: the descriptor may be closed and given anew at any moment."""
    try:
        copy = os.dup(descriptor)
    except OSError:
        return None
    try:
        return socket.socket(fileno=copy)
    except OSError:  # a file, a pipe, ...
        os.close(copy)
        return None
