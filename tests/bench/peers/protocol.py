"""How the bench speaks with the programs that it measures: lines of JSON, one question at a time.

A program is one peer (or Tocsin) in its own language; node/driver.mjs, python/driver.py and go/driver are the other
side. It is told where Redis is and what a job carries, and says that it is ready:

    {"open": {"url": ..., "data": {...}}}        {"ready": {"versions": {...}, "settings": "...", "cannot": {...}}}

Each question then has two steps, so that what it costs is taken around the second alone:

    {"do": "bulk", "jobs": 20000, ...}           {"prepared": {}}
    {"go": true}                                 {"done": {...}}

In place of either answer may come {"cannot": why} or {"error": what}. Times are Unix time in milliseconds, with their
fractions. The questions:

    single    jobs, callers, warm                add so many, one a call, so many callers at a time
    bulk      jobs, batch, in_flight, warm       the same by the call that takes many
    fill      jobs, due                          add so many, the quickest way; due: a time, or null for at once
    one                                          add one; {"asked": time before the call}
    cancel    jobs, callers                      remove so many that are due later, one a call
    count                                        {"count": jobs that wait, now or for their time}
    work      rate                               begin to run jobs; rate: true where nothing but the rate counts
    hold, plain, cancel_many                     of Tocsin alone: see tocsin_client.py
    collect   jobs, skip                         when so many have started: {"times": those, first to last}, at most
                                                 2,000 of them; or {"from": time of start number `skip`, "last"}
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.figures import processor_seconds


class Trouble(Exception):
    """A program did not do what it was asked for; the message says what it said."""


class Cannot(Exception):
    """The system has no such thing; the message says why."""


class Driver:
    """A program under way. A context manager: it is gone at its end."""

    def __init__(
        self, name: str, command: Sequence[str], *, folder: Path, env: Mapping[str, str], within: float = 120
    ) -> None:
        self.name, self._log, self._within = name, folder / f"{name}.log", within
        with self._log.open("ab") as said:
            self._process = subprocess.Popen(
                command,
                cwd=folder,
                env=env,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=said,
                bufsize=0,
                start_new_session=True,
            )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._to, self._from = self._process.stdin, self._process.stdout
        self._unread = b""

    def open(self, **about: Any) -> dict[str, Any]:
        """Tell it where it works; what it says of itself."""
        self._send({"open": about})
        return self._answer("ready")

    def prepare(self, do: str, **asked: Any) -> None:
        """The first step of a question."""
        self._send({"do": do, **asked})
        self._answer("prepared")

    def go(self) -> None:
        """The second step, without waiting for its end."""
        self._send({"go": True})

    def done(self) -> dict[str, Any]:
        """The end of the second step."""
        return self._answer("done")

    def ask(self, do: str, **asked: Any) -> dict[str, Any]:
        """A whole question."""
        self.prepare(do, **asked)
        self.go()
        return self.done()

    def seconds(self) -> float:
        """Processor time so far."""
        return processor_seconds(self._process.pid)

    def __enter__(self) -> Driver:
        return self

    def __exit__(self, *_: object) -> None:
        os.killpg(self._process.pid, signal.SIGKILL)  # with those that it has forked off
        self._process.wait()
        self._to.close()
        self._from.close()

    def _send(self, message: Mapping[str, Any]) -> None:
        try:
            self._to.write(json.dumps(message).encode() + b"\n")
        except OSError:
            raise Trouble(self._last_words("it has ended")) from None

    def _answer(self, wanted: str) -> dict[str, Any]:
        message = self._line()
        if "cannot" in message:
            raise Cannot(message["cannot"])
        if wanted not in message:
            raise Trouble(f"{self.name}: {message.get('error', message)}")
        found: dict[str, Any] = message[wanted]
        return found

    def _line(self) -> dict[str, Any]:
        end = time.monotonic() + self._within
        with selectors.DefaultSelector() as waiting:
            waiting.register(self._from, selectors.EVENT_READ)
            while b"\n" not in self._unread:
                if not waiting.select(max(0.0, end - time.monotonic())):
                    raise Trouble(self._last_words(f"no answer in {self._within:g} s"))
                read = os.read(self._from.fileno(), 1 << 16)
                if not read:
                    raise Trouble(self._last_words("it has ended"))
                self._unread += read
        line, _, self._unread = self._unread.partition(b"\n")
        found: dict[str, Any] = json.loads(line)
        return found

    def _last_words(self, what: str) -> str:
        said = self._log.read_text(errors="replace").strip()[-600:]
        return f"{self.name}: {what}" + (f"; it said: {said}" if said else "")
