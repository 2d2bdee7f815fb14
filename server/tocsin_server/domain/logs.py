"""What attempts wrote: the lines that a job keeps, and which of too many go.

The first lines of a job stay, its head; of the later ones, the tail, the oldest go. Nothing goes before a limit is met.
Lines are numbered from 1 over all attempts, and a number is never given twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from tocsin_server.domain import limits
from tocsin_server.domain.record import record
from tocsin_server.domain.sealed import is_sealed_line


@record
class LogLine:
    """A line that an attempt wrote. `level`: 1 debug, 2 info, 3 warning, 4 error, as tocsin.v1.LogLine.Level."""

    level: int
    text: str

    @property
    def kept(self) -> bytes:
        """What is kept of its text, in UTF-8: the end of a long one is cut off."""
        if is_sealed_line(self.text):
            return self.text.encode()
        said = self.text.encode(errors="replace")
        if len(said) <= limits.LOG_LINE_BYTES:
            return said
        return said[: limits.LOG_LINE_BYTES].decode(errors="ignore").encode()


@record
class LoggedLine:
    """A line as it was kept. With `dropped`, no line: so many that stood before the next one are gone; its time."""

    time: datetime
    attempt: int
    level: int
    text: str
    dropped: int = 0


@record
class LogPage:
    """Lines, oldest first. `cursor` goes on after them, also once all is read; with `more`, further ones stand."""

    lines: tuple[LoggedLine, ...]
    cursor: str
    more: bool


@record
class LogCounters:
    """Which lines a job keeps: 1 to `head`, and `first` to `last` (none of these: first is 0). Bytes are of texts."""

    last: int = 0
    head: int = 0
    first: int = 0
    head_bytes: int = 0
    tail_bytes: int = 0

    def add(self, sizes: Sequence[int], standing: Sequence[int]) -> LogCounters:
        """With lines of these sizes more; `standing` are those of the tail as it stands, the oldest first.

        What stands from the old `first` to the new one is to be dropped. lua/lib/logs.lua does the same.
        """
        last, head, first = self.last, self.head, self.first
        head_bytes, tail_bytes = self.head_bytes, self.tail_bytes
        tail = list(standing)
        dropped = 0
        for size in sizes:
            last += 1
            if not first and head < limits.LOG_HEAD_LINES and head_bytes + size <= limits.LOG_HEAD_BYTES:
                head, head_bytes = last, head_bytes + size
                continue
            first, tail_bytes = first or last, tail_bytes + size
            tail.append(size)
            while head + len(tail) - dropped > limits.LOG_LINES or head_bytes + tail_bytes > limits.LOG_BYTES:
                tail_bytes -= tail[dropped]
                dropped += 1
        return LogCounters(last, head, first and first + dropped, head_bytes, tail_bytes)

    def after(self, number: int, limit: int) -> range:
        """Numbers of the first lines, `limit` at most, that stand after this one; they follow each other, in the head
        or in the tail. One that was never given counts as 0."""
        number = number if number <= self.last else 0
        if number < self.head:
            return range(number + 1, min(self.head, number + limit) + 1)
        start = max(number + 1, self.first) if self.first else self.last + 1
        return range(start, min(self.last, start + limit - 1) + 1)
