"""Lines that an attempt wrote with `job.log`, until a heartbeat carries them away."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from typing import Literal, TypeAlias, get_args

from tocsin.worker.outcomes import cut

#: How important a line is.
LevelName: TypeAlias = Literal["debug", "info", "warning", "error"]

#: A line: its level, as tocsin.v1.LogLine.Level has it, and its text.
Line: TypeAlias = tuple[int, str]

LEVELS: dict[str, int] = {name: number for number, name in enumerate(get_args(LevelName), start=1)}

#: CONTRACT: a line is at most this long in UTF-8; the end of a longer one is cut off.
LINE_BYTES = 4 << 10

#: So much waits at most for the next heartbeat, as a job keeps no more either: lines, and bytes of their texts.
WAITING_LINES, WAITING_BYTES = 1000, 256 << 10

_FIRST_LINES, _FIRST_BYTES = WAITING_LINES // 2, WAITING_BYTES // 2
_LAST_LINES, _LAST_BYTES = WAITING_LINES - _FIRST_LINES - 1, WAITING_BYTES - _FIRST_BYTES  # one line is the mark
_COUNTED = 16  # bytes that a line counts besides its text, so that empty ones are not free


def line(text: object, level: str) -> Line:
    """The line. Raises ValueError for a level that there is not."""
    number = LEVELS.get(level)
    if number is None:
        raise ValueError(f"{level!r} is no level: give one of {', '.join(LEVELS)}")
    return number, cut(str(text), LINE_BYTES)


class WaitingLines:
    """Any thread adds lines, one takes them all, and says whether they arrived. Where too many wait, the first and the
    last stay, and a line between them says how many were dropped. True while any waits or travels."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._first: list[Line] = []
        self._last: deque[Line] = deque()
        self._first_bytes = self._last_bytes = 0
        self._dropped = 0
        self._travelling = False

    def __bool__(self) -> bool:
        return bool(self._first) or self._travelling

    def add(self, new: Line) -> None:
        """One more."""
        with self._lock:
            self._add(new)

    def take(self) -> Sequence[Line]:
        """All that wait, oldest first; they travel until `arrived` or `put_back`."""
        with self._lock:
            taken = self._take()
            self._travelling = bool(taken)
            return taken

    def arrived(self) -> None:
        """Those that were taken are stored."""
        self._travelling = False

    def put_back(self, lines: Sequence[Line]) -> None:
        """They could not be carried away; they stand before what was added since."""
        with self._lock:
            self._travelling = False
            since = self._take()
            for one in (*lines, *since):
                self._add(one)

    def _add(self, new: Line) -> None:
        size = len(new[1].encode("utf-8", "replace")) + _COUNTED
        if not self._last and len(self._first) < _FIRST_LINES and self._first_bytes + size <= _FIRST_BYTES:
            self._first.append(new)
            self._first_bytes += size
            return
        self._last.append(new)
        self._last_bytes += size
        while len(self._last) > _LAST_LINES or self._last_bytes > _LAST_BYTES:
            self._last_bytes -= len(self._last.popleft()[1].encode("utf-8", "replace")) + _COUNTED
            self._dropped += 1

    def _take(self) -> list[Line]:
        mark = [(LEVELS["warning"], f"... {self._dropped} lines were written faster than they travel, and dropped")]
        lines = [*self._first, *(mark if self._dropped else []), *self._last]
        self._first, self._last = [], deque()
        self._first_bytes = self._last_bytes = self._dropped = 0
        return lines
