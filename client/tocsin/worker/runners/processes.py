"""Processes for handlers that may crash or hold the interpreter's lock: one an attempt, spawned, never forked alone."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
import time
from asyncio.subprocess import Process
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

from tocsin import tracing
from tocsin.worker import attempt_spans
from tocsin.worker.attempt import Attempt, Ended
from tocsin.worker.mailbox import Mailbox
from tocsin.worker.outcomes import crashed, not_begun, raised
from tocsin.worker.runners import frames
from tocsin.worker.source import AttemptOutcome

logger = logging.getLogger("tocsin.worker")

#: Interpreters that start at the same time, each a processor's work for some tenths of a second. A server that comes
#: back from a crash may hold a slotful of jobs to be run alone; all at once would starve the loop that renews leases.
STARTS_AT_ONCE = max(2, os.cpu_count() or 1)

#: Seconds that an interpreter may take to be there. One was seen that was, and of which uvloop never said so: its job
#: would have been held for ever.
START_WITHIN = 30.0

#: Seconds to read what a dead process had still written. Its pipe may be held open by processes that it started.
LAST_WORDS = 1.0


@dataclass(slots=True, eq=False)
class _Seat:
    """Where an attempt runs."""

    task: asyncio.Task[None] | None = None
    process: Process | None = None  # None: not spawned yet
    killed: bool = False


class HandlerProcesses:
    """Runs attempts in `python -m tocsin.worker.runners.child` (a Runner). All on the runtime's loop: it only passes
    frames.

    The process leads a session of its own, so that Ctrl-C in a terminal does not reach it and a kill reaches what it
    started. It ends when this one does.
    """

    def __init__(self, ended: Mailbox[Ended], exit_grace: timedelta) -> None:
        self._ended = ended
        self._exit_grace = exit_grace.total_seconds()
        self._seats: set[_Seat] = set()
        self._starts = asyncio.Semaphore(STARTS_AT_ONCE)

    def start(self, attempts: Sequence[Attempt]) -> None:
        """Spawn one process for each."""
        for attempt in attempts:
            attempt.seat = seat = _Seat()
            self._seats.add(seat)
            seat.task = asyncio.get_running_loop().create_task(self._run(attempt, seat))

    def stop(self, attempt: Attempt) -> None:
        """Tell the process."""
        seat: _Seat = attempt.seat
        if seat.process is not None:
            _tell(seat.process, {"stop": attempt.stop_reason})

    def kill(self, attempt: Attempt) -> bool:
        """Kill the process and what it started."""
        _kill(attempt.seat)
        return True

    async def close(self) -> None:
        """Kill what is left."""
        for seat in self._seats:
            _kill(seat)
        if tasks := [seat.task for seat in self._seats if seat.task is not None]:
            await asyncio.wait(tasks, timeout=self._exit_grace)

    async def _run(self, attempt: Attempt, seat: _Seat) -> None:
        span = None
        try:
            with contextlib.ExitStack() as start:
                await self._starts.acquire()
                start.callback(self._starts.release)
                attempt.began = time.monotonic()  # waiting for its turn is no part of its time
                span = attempt_spans.begin(attempt.job)
                outcome = await self._outcome(attempt, seat, start.close)
        except _NotSpawned as error:
            logger.warning("no process for a job of type %r, it is given back: %s", attempt.job.type, error)
            outcome = not_begun(attempt.job)
        except Exception as error:  # it says what no process of ours says
            logger.warning("no sense in what the process of a job of type %r says: %s", attempt.job.type, error)
            outcome = raised(attempt.job, error)
        finally:
            self._seats.discard(seat)
        attempt_spans.end(span, outcome)
        self._ended.put((attempt, outcome))

    async def _outcome(self, attempt: Attempt, seat: _Seat, started: Callable[[], None]) -> AttemptOutcome:
        process, reading = await _spawn()
        seat.process = process
        with os.fdopen(reading, "rb", buffering=0) as pipe:
            if seat.killed:
                _kill(seat)
            _tell(process, _first_words(attempt), attempt.job.payload_body)
            if attempt.stop is not None:
                self.stop(attempt)
            stream = asyncio.StreamReader()
            transport, _ = await asyncio.get_running_loop().connect_read_pipe(
                lambda: asyncio.StreamReaderProtocol(stream), pipe
            )
            try:
                return await self._listen(attempt, process, stream, started) or await self._died(attempt, process)
            finally:
                transport.close()
                await self._end(seat, process)

    async def _listen(
        self, attempt: Attempt, process: Process, stream: asyncio.StreamReader, started: Callable[[], None]
    ) -> AttemptOutcome | None:
        listening = asyncio.create_task(_outcome_in(attempt, process, stream, started))
        dying = asyncio.create_task(process.wait())
        await asyncio.wait({listening, dying}, return_when=asyncio.FIRST_COMPLETED)
        if not listening.done():
            await asyncio.wait({listening}, timeout=LAST_WORDS)
        dying.cancel()
        if listening.done():
            return listening.result()
        listening.cancel()
        return None

    async def _died(self, attempt: Attempt, process: Process) -> AttemptOutcome:
        """It closed its pipe without an outcome, or is dead."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._exit_grace):
                await process.wait()
        code = process.returncode
        how = "said nothing more" if code is None else _by_signal(-code) if code < 0 else f"exited with code {code}"
        return crashed(attempt.job, f"the attempt's process {how} before its handler ended")

    async def _end(self, seat: _Seat, process: Process) -> None:
        """Let it end by itself, for a while; then kill it."""
        try:
            async with asyncio.timeout(self._exit_grace):
                await process.wait()
        except TimeoutError:
            _kill(seat)
            await process.wait()
        if process.stdin is not None:
            process.stdin.close()


class _NotSpawned(Exception):
    """This process lacks what another one needs, memory, descriptors or time. The job has no part in that."""


async def _spawn() -> tuple[Process, int]:
    """The process, and where it will be heard."""
    try:
        reading, writing = os.pipe()
        try:
            async with asyncio.timeout(START_WITHIN):
                process = await asyncio.create_subprocess_exec(
                    sys.executable,
                    "-P",  # the current folder is not looked in before the library is
                    "-m",
                    "tocsin.worker.runners.child",
                    str(writing),
                    stdin=asyncio.subprocess.PIPE,
                    pass_fds=(writing,),
                    start_new_session=True,
                )
        except BaseException:
            os.close(reading)
            raise
        finally:
            os.close(writing)
    except (OSError, RuntimeError, MemoryError) as error:
        raise _NotSpawned(str(error) or f"it was not there within {START_WITHIN:g} s") from error
    return process, reading


def _first_words(attempt: Attempt) -> dict[str, object]:
    return {
        "handlers": attempt.handler.spec,
        "path": sys.path,
        "parent": os.getpid(),
        "job": frames.job_to_json(attempt.job),
        "span": tracing.current(),  # the attempt's, where there is one; it is this process's to end
    }


async def _outcome_in(
    attempt: Attempt, process: Process, stream: asyncio.StreamReader, started: Callable[[], None]
) -> AttemptOutcome | None:
    """Listen to progress and lines until the outcome comes, or the end. `started` is called when the handler begins."""
    with contextlib.suppress(asyncio.IncompleteReadError):
        while True:
            text_bytes, body_bytes = frames.lengths(await stream.readexactly(frames.HEAD_BYTES))
            text = await stream.readexactly(text_bytes)
            said, body = frames.parse(text), await stream.readexactly(body_bytes)
            if "started" in said:
                started()
            if "ask" in said:
                asked = asyncio.wrap_future(attempt.ask(attempt.job))
                asked.add_done_callback(partial(_answer, process))
            if "progress" in said:
                fraction, message = said["progress"]
                attempt.context.progress(fraction, message)
            for level, line in said.get("log", ()):
                attempt.write((level, line))
            if "outcome" in said:
                return frames.outcome_from_json(attempt.job, said["outcome"], body)
    return None


def _tell(process: Process, said: dict[str, object], body: bytes = b"") -> None:
    if process.stdin is not None and not process.stdin.is_closing():
        process.stdin.write(frames.pack(said, body))


def _answer(process: Process, asked: asyncio.Future[Sequence[bytes | None]]) -> None:
    """Tell the process what it asked for."""
    if asked.cancelled():
        return
    if (error := asked.exception()) is not None:
        _tell(process, {"refused": str(error)})
    else:
        lengths, body = frames.parts(asked.result())
        _tell(process, {"parents": lengths}, body)


def _kill(seat: _Seat) -> None:
    seat.killed = True
    if seat.process is not None and seat.process.returncode is None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(seat.process.pid, signal.SIGKILL)


def _by_signal(number: int) -> str:
    try:
        return f"was killed by {signal.Signals(number).name}"
    except ValueError:
        return f"was killed by signal {number}"
