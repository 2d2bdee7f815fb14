"""Lines of a job's log as Redis keeps them, and back: lua/lib/logs.lua."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from tocsin_server.domain.logs import LoggedLine, LogLine
from tocsin_server.domain.times import to_time

_LINE_HEAD = struct.Struct(">6sIB")


def log_bytes(lines: Sequence[LogLine]) -> bytes:
    """Lines as extend.lua reads them."""
    parts: list[bytes] = []
    for line in lines:
        text = line.kept
        parts += (bytes((line.level,)), len(text).to_bytes(2, "big"), text)
    return b"".join(parts)


def logged_line(stored: bytes) -> LoggedLine:
    """A line of a job's log."""
    time, attempt, level = _LINE_HEAD.unpack_from(stored)
    return LoggedLine(to_time(int.from_bytes(time, "big")), attempt, level, stored[_LINE_HEAD.size :].decode())
