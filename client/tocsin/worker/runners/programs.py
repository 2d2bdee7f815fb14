"""Programs in any language as handlers: one process an attempt, spoken with over its standard streams."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import subprocess
import sys
import time
from asyncio.subprocess import Process
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from tocsin.worker import attempt_spans
from tocsin.worker.attempt import Attempt, Ended
from tocsin.worker.log_lines import LEVELS, LINE_BYTES, WAITING_LINES, line
from tocsin.worker.mailbox import Mailbox
from tocsin.worker.outcomes import ERROR_TRACE_BYTES, not_begun, raised
from tocsin.worker.payloads import RESULT_BYTES
from tocsin.worker.program_io import program_input, program_outcome
from tocsin.worker.source import AttemptOutcome

logger = logging.getLogger("tocsin.worker")

#: Seconds that the streams of a program are read after its end: what it started may still write its last to them.
LAST_WORDS = 1.0

_GUARD = Path(__file__).with_name("program_guard.py")
_CHUNK = 64 << 10


@dataclass(slots=True, eq=False)
class _Seat:
    """Where an attempt runs."""

    task: asyncio.Task[None] | None = None
    process: Process | None = None  # None: not started yet
    signal: int = 0  # what it was sent last


class Programs:
    """Runs attempts as programs (a Runner), each the head of a process group of its own. All on the runtime's loop: it
    only passes bytes.

    What a program leaves running in its group ends with it, and all of it ends with this process, however that ends.
    """

    def __init__(self, ended: Mailbox[Ended], exit_grace: timedelta) -> None:
        self._ended = ended
        self._exit_grace = exit_grace.total_seconds()
        self._seats: set[_Seat] = set()
        self._guard = _Guard()

    def start(self, attempts: Sequence[Attempt]) -> None:
        """Start the program of each."""
        for attempt in attempts:
            attempt.seat = seat = _Seat()
            self._seats.add(seat)
            seat.task = asyncio.get_running_loop().create_task(self._run(attempt, seat))

    def stop(self, attempt: Attempt) -> None:
        """SIGTERM, to its whole group."""
        _send(attempt.seat, signal.SIGTERM)

    def kill(self, attempt: Attempt) -> bool:
        """SIGKILL, to its whole group."""
        _send(attempt.seat, signal.SIGKILL)
        return True

    async def close(self) -> None:
        """Kill what is left."""
        for seat in self._seats:
            _send(seat, signal.SIGKILL)
        if tasks := [seat.task for seat in self._seats if seat.task is not None]:
            await asyncio.wait(tasks, timeout=self._exit_grace)
        self._guard.close()

    async def _run(self, attempt: Attempt, seat: _Seat) -> None:
        span = attempt_spans.begin(attempt.job)
        try:
            outcome = await self._outcome(attempt, seat)
        except OSError as error:  # no memory, no descriptors, no such file any more: the job has no part in that
            logger.warning("%s cannot be started, a job of type %r is given back: %s", *_what(attempt), error)
            outcome = not_begun(attempt.job)
        except Exception as error:
            outcome = raised(attempt.job, error)
        finally:
            self._seats.discard(seat)
        attempt_spans.end(span, outcome)
        self._ended.put((attempt, outcome))

    async def _outcome(self, attempt: Attempt, seat: _Seat) -> AttemptOutcome:
        body, variables = program_input(attempt.job)
        self._guard.ensure()
        if seat.signal:  # it was stopped before it began
            return raised(attempt.job, asyncio.CancelledError())
        process, pipes = await _started(attempt.handler.command, variables)
        self._guard.watch(process.pid)
        seat.process = process
        attempt.began = time.monotonic()
        try:
            if seat.signal:
                _send(seat, seat.signal)
            output, errors = await _talk(attempt, process, pipes, body)
        finally:
            _send(seat, signal.SIGKILL)  # what is left of its group
            await process.wait()
            self._guard.forget(process.pid)
        code = process.returncode or 0
        if attempt.stop is not None and code == -signal.SIGTERM:
            return raised(attempt.job, asyncio.CancelledError())
        return program_outcome(attempt.job, code, output, errors)


#: This side's ends of a program's standard input, output and error.
_Pipes = tuple[int, int, int]


async def _started(command: Sequence[str], variables: Mapping[str, str]) -> tuple[Process, _Pipes]:
    """The program. Over pipes of ours: asyncio's own wait for a process until nobody has its pipes open any more."""
    with contextlib.ExitStack() as theirs, contextlib.ExitStack() as ours:
        ends = []
        for _ in range(3):
            reading, writing = os.pipe()
            ends.append((reading, writing))
            inner, outer = (reading, writing) if len(ends) == 1 else (writing, reading)
            theirs.callback(os.close, inner)
            ours.callback(os.close, outer)
        (stdin, feeding), (output, stdout), (errors, stderr) = ends
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            env=os.environ | variables,
            start_new_session=True,
        )
        ours.pop_all()
    return process, (feeding, output, errors)


async def _talk(attempt: Attempt, process: Process, pipes: _Pipes, body: bytes) -> tuple[bytes, bytes]:
    """Until its end: what it wrote to standard output, and the end of what it wrote to standard error."""
    feeding, output_end, errors_end = pipes
    loop = asyncio.get_running_loop()
    output, errors = bytearray(), bytearray()
    transports: list[asyncio.BaseTransport] = []
    stdin, fed = await loop.connect_write_pipe(_Feeding, os.fdopen(feeding, "wb", buffering=0))
    try:
        stdin.write(body)  # it need not read
        stdin.write_eof()
        reading = [
            asyncio.create_task(_collect(await _reader(output_end, transports), output)),
            asyncio.create_task(_log(await _reader(errors_end, transports), errors, attempt)),
        ]
        await process.wait()
        _, late = await asyncio.wait(reading, timeout=LAST_WORDS)
        for task in late:
            task.cancel()
        await asyncio.wait(reading)
    finally:
        if not fed.over:
            stdin.abort()
        for transport in transports:
            transport.close()
    return bytes(output), bytes(errors)


class _Feeding(asyncio.BaseProtocol):
    over = False  # all was written, or the program closed its end; asyncio bears no abort then

    def connection_lost(self, exc: Exception | None) -> None:
        self.over = True


async def _reader(end: int, transports: list[asyncio.BaseTransport]) -> asyncio.StreamReader:
    reader = asyncio.StreamReader()
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(end, "rb", buffering=0)
    )
    transports.append(transport)
    return reader


class _Guard:
    """The program that ends all groups once this process is gone. One for all; started with the first."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._groups: set[int] = set()

    def ensure(self) -> None:
        """See to it that it runs. Raises OSError."""
        if self._process is None or self._process.poll() is not None:
            self._process = subprocess.Popen(  # noqa: S603 - our own program
                [sys.executable, "-I", "-S", str(_GUARD)],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C in a terminal does not reach it
            )
            for group in self._groups:
                self._tell(f"+{group}")

    def watch(self, group: int) -> None:
        """It has begun."""
        self._groups.add(group)
        self._tell(f"+{group}")

    def forget(self, group: int) -> None:
        """It has ended, all of it."""
        self._groups.discard(group)
        self._tell(f"-{group}")

    def close(self) -> None:
        """Let it end."""
        if self._process is not None and self._process.stdin is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.close()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout=5)
            self._process = None

    def _tell(self, word: str) -> None:
        # A few bytes into a pipe that is read at once: this does not wait.
        if self._process is not None and self._process.stdin is not None:
            with contextlib.suppress(OSError):  # it is gone; the next program starts another
                self._process.stdin.write(f"{word}\n".encode())
                self._process.stdin.flush()


async def _collect(stream: asyncio.StreamReader, into: bytearray) -> None:
    """All of it is read, so that the program can go on; what is too much to be kept is not."""
    while chunk := await stream.read(_CHUNK):
        if len(into) <= RESULT_BYTES:
            into += chunk


async def _log(stream: asyncio.StreamReader, end: bytearray, attempt: Attempt) -> None:
    """Each line becomes one of the job's log."""
    rest = b""
    while chunk := await stream.read(_CHUNK):
        end += chunk
        del end[:-ERROR_TRACE_BYTES]
        *lines, rest = (rest + chunk).split(b"\n")
        _write(attempt, lines)
        if len(rest) > LINE_BYTES:
            _write(attempt, [rest])
            rest = b""
    _write(attempt, [rest] if rest else [])


def _write(attempt: Attempt, lines: Sequence[bytes]) -> None:
    half = WAITING_LINES // 2
    if (dropped := len(lines) - 2 * half) > 0:  # more than are kept anyway
        _write(attempt, lines[:half])
        attempt.write((LEVELS["warning"], f"... {dropped} lines were written faster than they travel, and dropped"))
        lines = lines[-half:]
    for text in lines:
        attempt.write(line(text.rstrip(b"\r").decode("utf-8", "replace"), "info"))


def _send(seat: _Seat, number: int) -> None:
    seat.signal = number
    if seat.process is not None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(seat.process.pid, number)


def _what(attempt: Attempt) -> tuple[str, str]:
    return attempt.handler.command[0], attempt.job.type
