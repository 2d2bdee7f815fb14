"""Which commands a program sends to a server that speaks MongoDB's wire protocol: counted between the two."""

from __future__ import annotations

import asyncio
import contextlib
import struct
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import bson

_HEADER = struct.Struct("<iiii")  # length, number, number of what it answers, kind
_OP_MSG = 2013
_INT = struct.Struct("<i")
#: What drivers send for themselves, by a field that the command has then.
_DRIVERS_OWN = {"client": "(driver) handshake", "topologyVersion": "(driver) monitoring"}


@dataclass(slots=True)
class Tally:
    """Commands of one kind: how many, the statements in them (documents, updates), and how long answers took."""

    commands: int = 0
    statements: int = 0
    seconds: float = 0.0


Tallies = Mapping[str, Tally]


class WireTap:
    """Passes what goes to `port`, and counts it by verb and collection. A context manager; a thread of its own.

    `base` is the name that collections begin with; it is left out, and "jobs" stands for the collection of that name.
    """

    def __init__(self, port: int, base: str) -> None:
        self._target, self._base = port, base
        self._tallies: dict[str, Tally] = defaultdict(Tally)
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.port = 0

    def __enter__(self) -> WireTap:
        self._thread.start()
        if not self._ready.wait(10):
            raise TimeoutError("the tap did not start")
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def take(self) -> dict[str, Tally]:
        """What was counted since the last time, the drivers' own commands left out."""
        taken, self._tallies = self._tallies, defaultdict(Tally)
        return {name: tally for name, tally in sorted(taken.items()) if not name.startswith("(")}

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", 0, limit=1 << 20))
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        self._loop.run_forever()
        server.close()
        tasks = asyncio.all_tasks(self._loop)
        for task in tasks:
            task.cancel()
        if tasks:
            self._loop.run_until_complete(asyncio.wait(tasks, timeout=5))
        self._loop.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
        asked: dict[int, tuple[str, float]] = {}
        pumps = [
            asyncio.ensure_future(self._requests(reader, far_writer, asked)),
            asyncio.ensure_future(self._answers(far_reader, writer, asked)),
        ]
        try:
            with contextlib.suppress(asyncio.CancelledError):  # the tap ends, and this was its last word
                await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            for end in (writer, far_writer):
                end.transport.abort()

    async def _requests(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, asked: dict[int, tuple[str, float]]
    ) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                message, number, _, kind = await _message(source)
                body = message[_HEADER.size :]
                name, statements = self._read(body) if kind == _OP_MSG else ("(driver) handshake", 0)
                tally = self._tallies[name]
                tally.commands += 1
                tally.statements += statements
                asked[number] = name, time.perf_counter()
                sink.write(message)
                await sink.drain()

    async def _answers(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, asked: dict[int, tuple[str, float]]
    ) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                message, _, answers, _ = await _message(source)
                sink.write(message)
                await sink.drain()
                if (question := asked.pop(answers, None)) is not None:
                    name, begun = question
                    self._tallies[name].seconds += time.perf_counter() - begun

    def _read(self, body: bytes) -> tuple[str, int]:
        """Verb and collection of a command, and how many statements it has."""
        command, statements = b"", 0
        at = _INT.size  # flags
        # A checksum at the end, which no driver here asks for, would be read as one more section.
        while at < len(body):
            section, length = body[at], _INT.unpack_from(body, at + 1)[0]
            if section == 0:
                command = body[at + 1 : at + 1 + length]
            else:
                statements += sum(1 for _ in _documents(body[at + 1 : at + 1 + length]))
            at += 1 + length
        asked = bson.decode(command)
        for field, name in _DRIVERS_OWN.items():
            if field in asked:
                return name, 0
        verb, of = next(iter(asked.items()))
        collection = asked.get("collection", of)
        statements += sum(len(asked.get(one, ())) for one in ("documents", "updates", "deletes"))
        if not isinstance(collection, str):
            return verb, statements
        suffix = collection.removeprefix(self._base).removeprefix(".") or "jobs"
        return f"{verb} {suffix}", statements


async def _message(source: asyncio.StreamReader) -> tuple[bytes, int, int, int]:
    """One message whole: its bytes, its number, what it answers, and its kind."""
    header = await source.readexactly(_HEADER.size)
    length, number, answers, kind = _HEADER.unpack(header)
    return header + await source.readexactly(length - _HEADER.size), number, answers, kind


def _documents(section: bytes) -> Iterator[int]:
    """Where each document of a sequence begins."""
    at = section.index(0, _INT.size) + 1  # after the sequence's name
    while at < len(section):
        yield at
        at += _INT.unpack_from(section, at)[0]
