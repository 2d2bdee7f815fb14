"""What handlers really did, kept outside the store: a line for each start and end in an append-only file."""

from __future__ import annotations

import os
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

#: Environment variable by which a test tells handlers where the file is.
VARIABLE = "TEST_JOURNAL"


def note(event: str, job_id: str, attempt: int, detail: str = "") -> None:
    """Append a line. One write call on an O_APPEND file: lines of many processes never mix, and a kill loses none."""
    path = os.environ.get(VARIABLE)
    if path is None:
        return
    line = f"{event}\t{job_id}\t{attempt}\t{os.getpid()}\t{time.time():.6f}\t{detail}\n"
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(file, line.encode())
    finally:
        os.close(file)


@dataclass(frozen=True, slots=True)
class Line:
    """One thing a handler did. `at` is this machine's clock, in seconds."""

    event: str
    job_id: str
    attempt: int
    pid: int
    at: float
    detail: str


class Journal:
    """Reads the file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def env(self) -> dict[str, str]:
        """What a server's environment must have so that its handlers write here."""
        return {VARIABLE: str(self.path)}

    def lines(self, event: str | None = None) -> list[Line]:
        """All whole lines, or those of one event, in the order written."""
        if not self.path.exists():
            return []
        rows = [row.split("\t") for row in self.path.read_text().split("\n")[:-1]]
        lines = [Line(r[0], r[1], int(r[2]), int(r[3]), float(r[4]), r[5]) for r in rows]
        return [line for line in lines if event is None or line.event == event]

    def starts(self) -> Counter[str]:
        """How often each job was started."""
        return Counter(line.job_id for line in self.lines("start"))
