"""A server for tests: a process with a store of its own, mail and text messages in a folder, a clock moved by hand."""

from __future__ import annotations

import email
import email.policy
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from email.message import EmailMessage
from pathlib import Path
from typing import Any

from tocsin._times import Span
from tocsin.client import Client
from tocsin.clock import ClockMove, ClockTime, RanAttempt
from tocsin.errors import TocsinError

_STARTS_WITHIN, _STOPS_WITHIN = 60.0, 15.0  # seconds
#: What would steer the server from outside.
_FOREIGN = ("TOCSIN_", "REDIS_", "QUEUE_", "MONGODB_")


class ServerNotStarted(Exception):
    """The server ended before it served. The message is what it said."""


class DrivenClock:
    """The server's clock. Each move is one to its end, however much runs on the way."""

    def __init__(self, client: Client, ran: list[RanAttempt]) -> None:
        self._client = client
        self._ran = ran

    def get(self) -> ClockTime:
        """What time it is, and when something is due next."""
        return self._client.clock.get()

    @property
    def now(self) -> datetime:
        """What time it is for jobs."""
        return self.get().now

    def advance(
        self,
        *,
        days: float = 0,
        hours: float = 0,
        minutes: float = 0,
        seconds: float = 0,
        to: datetime | None = None,
        settle: Span | None = None,
    ) -> list[RanAttempt]:
        """Move the clock by a span or to a time; the attempts that ended on the way, in the order they were due."""
        target = to
        if target is None:
            target = self.now + timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
        done = self._client.clock.advance(to=target, settle=settle)
        ran = self._taken(done)
        while done.more:
            done = self._client.clock.advance(to=target, settle=settle)
            ran += self._taken(done)
        return ran

    def advance_to_next(self, *, settle: Span | None = None) -> list[RanAttempt]:
        """Move the clock to what is due next; the attempts that ended."""
        return self._taken(self._client.clock.advance_to_next(settle=settle))

    def settle(self) -> list[RanAttempt]:
        """Let run what is due now; the attempts that ended."""
        return self.advance()

    def _taken(self, done: ClockMove) -> list[RanAttempt]:
        self._ran.extend(done.ran)
        return done.ran


@dataclass
class JobServer:
    """A running server of a test's own."""

    address: str
    client: Client
    folder: Path
    ran: list[RanAttempt] = field(default_factory=list)  # all that the clock's moves have let run

    @property
    def clock(self) -> DrivenClock:
        """Its clock, moved by hand."""
        return DrivenClock(self.client, self.ran)

    @property
    def outbox(self) -> list[EmailMessage]:
        """The mails that were sent, in order."""
        files = sorted((self.folder / "outbox").glob("[!.]*.eml"))
        return [email.message_from_bytes(file.read_bytes(), policy=email.policy.default) for file in files]

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The text messages that were sent, in order: `to`, `from`, `text`."""
        return [json.loads(file.read_text()) for file in sorted((self.folder / "outbox").glob("[!.]*.json"))]


@contextmanager
def job_server(*handlers: str, flags: Sequence[str] = ()) -> Iterator[JobServer]:
    """A server with these modules of handlers ("myapp.jobs"), until the end of the context.

    It is a process of its own, imports what this one can import, and takes no setting from the environment. `flags` are
    those of `tocsin serve`. Raises ServerNotStarted.
    """
    # Short, whatever the test's own folder is: a Unix socket's path must be.
    folder = Path(tempfile.mkdtemp(prefix="tocsin"))
    process = None
    try:
        address = f"127.0.0.1:{_free_port()}"
        process = _start(folder, address, handlers, flags)
        with Client(address, deadline=30, tls=False, token="") as client:
            _await(process, client, folder)
            yield JobServer(address, client, folder)
    finally:
        if process is not None:
            _stop(process)
        shutil.rmtree(folder, ignore_errors=True)


def _start(folder: Path, address: str, handlers: Sequence[str], flags: Sequence[str]) -> subprocess.Popen[bytes]:
    outbox = f"file:{folder / 'outbox'}"
    command = [sys.executable, "-m", "tocsin.cli.main", "serve", "--provider", "embedded", "--clock", "manual"]
    command += ["--listen", address, "--data", str(folder / "data"), "--mail", outbox, "--mail-from", "t@example.com"]
    command += [part for module in handlers for part in ("--handlers", module)]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)}
    environment |= {"PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path), "TOCSIN_SMS__URL": outbox}
    with (folder / "log").open("wb") as log:
        return subprocess.Popen(  # noqa: S603  # our own command
            [*command, *flags], env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )


def _await(process: subprocess.Popen[bytes], client: Client, folder: Path) -> None:
    until = time.monotonic() + _STARTS_WITHIN
    while True:
        try:
            client.clock.get(deadline=1)
            return
        except TocsinError as error:
            if process.poll() is not None or time.monotonic() > until:
                said = (folder / "log").read_text(errors="replace")
                raise ServerNotStarted(f"{error}; the server said:\n{said}") from error


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_STOPS_WITHIN)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port
