"""Worker processes in four languages, and programs that schedule in each: for tests of several at once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from support import example_workers

TESTS = Path(__file__).parents[1]
LANGUAGES = (*example_workers.LANGUAGES, "python")
_PYTHON = (sys.executable, "-m", "tocsin.cli.main", "worker", "run", "support.jobs.conformance", "--log-level", "error")
_SCHEDULES = (sys.executable, "-m", "support.schedules_many")


@dataclass
class Program:
    """A process whose output goes to a file."""

    log: Path
    process: subprocess.Popen[bytes]

    def tell(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    def kill(self) -> None:
        """SIGKILL, also to one that stands still, and wait."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()

    def ended(self, within: float) -> int:
        """Its exit code."""
        return self.process.wait(within)

    def said(self) -> str:
        """The end of what it wrote."""
        return self.log.read_text(errors="replace")[-2000:]


def worker(
    language: str, folder: Path, servers: Sequence[str], queue: str, *, slots: int, lease: int, program: str = "worker"
) -> Program:
    """Start a worker: by stream, or "poll" by plain calls. NotBuilt."""
    env = _settings(servers, queue) | {"TOCSIN_CONCURRENCY": str(slots), "TOCSIN_LEASE": f"{lease}s"}
    if language != "python":
        command: Sequence[str] = example_workers.command(language, program)
    else:
        options = ["--server", ",".join(servers), "--queue", queue, "--concurrency", str(slots), "--lease", f"{lease}s"]
        command = [*_PYTHON, *options]
    return _start(command, folder / f"{language}-{program}-{len(list(folder.iterdir()))}.log", env)


def scheduler(
    language: str, folder: Path, servers: Sequence[str], queue: str, *, jobs: int, ms: int, spread_ms: int
) -> Program:
    """Schedule jobs that take so long, due one after the other within the spread; each id ends with its delay in
    milliseconds. NotBuilt."""
    command = list(_SCHEDULES) if language == "python" else example_workers.command(language, "many")
    arguments = [*command, str(jobs), str(ms), str(spread_ms)]
    return _start(arguments, folder / f"{language}-schedules.log", _settings(servers, queue))


def _settings(servers: Sequence[str], queue: str) -> dict[str, str]:
    return {"TOCSIN_SERVER": ",".join(servers), "TOCSIN_QUEUE": queue}


def _start(command: Sequence[str], log: Path, settings: Mapping[str, str]) -> Program:
    env = {name: value for name, value in os.environ.items() if not name.startswith("TOCSIN_")}
    env |= {"PYTHONPATH": str(TESTS), "no_proxy": "127.0.0.1,localhost", **settings}
    with log.open("ab") as out:
        return Program(log, subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=out))
