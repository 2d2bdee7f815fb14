"""The audit log: one JSON line a record, apart from the server's own log, to a file, standard output or syslog.

A line is written before its call is answered, by one write, so that the lines of several processes never mix. What
could not be written waits, and comes first once it can be. Whoever asks `writable` before each call makes none until
then, so that at most those under way were made without their line on the disk.
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Mapping
from pathlib import Path

import structlog

_log: structlog.typing.FilteringBoundLogger = structlog.get_logger("tocsin.server")

FILE = "file:"
_LOOK_EVERY = 1.0  # seconds between two looks whether the file was moved away
_ROOM = 1 << 20  # bytes on its disk below which it counts as full
_MOST_WAITING = 1 << 20  # bytes that wait at most
_SYSLOG = "/dev/log"
_AUTHPRIV_INFO = b"<86>tocsin: "


class AuditUnusable(Exception):
    """The audit log cannot be written at the start. One line."""


class AuditLog:
    """Writes records to `to`: "stdout", "syslog" or "file:PATH". AuditUnusable where that is not possible."""

    def __init__(self, to: str) -> None:
        self._to = to
        self._path = Path(to.removeprefix(FILE)) if to.startswith(FILE) else None
        self._socket: socket.socket | None = None
        self._fd = -1
        self._waiting = bytearray()
        self._begun = 0  # bytes of the first line that waits which stand in the file: a full disk takes a part of one
        self._looked = time.monotonic()
        self._failed = False
        try:
            self._open()
        except OSError as error:
            raise AuditUnusable(f"audit.to: {to} cannot be written: {error.strerror}") from None

    def write(self, record: Mapping[str, object]) -> None:
        """Write a line. ASCII alone: what would break a line, or a terminal, is escaped."""
        line = json.dumps(record, separators=(",", ":")).encode() + b"\n"
        if len(self._waiting) + len(line) <= _MOST_WAITING:
            self._waiting += line
        self._write_on()

    def writable(self) -> bool:
        """Whether all that was given was written, and there is room for more."""
        if self._waiting:
            self._write_on()
        if self._waiting:
            return False
        if self._path is None:
            return True
        try:
            disk = os.fstatvfs(self._fd)
        except OSError:
            return False
        return disk.f_bavail * disk.f_frsize >= _ROOM

    def reopen(self) -> None:
        """Write on into the file that stands under the name now."""
        if self._path is None:
            return
        before = self._fd
        try:
            self._open()
        except OSError as error:
            _log.error("the audit log cannot be opened anew, going on with the old file", error=str(error))
            return
        os.close(before)
        self._begun = 0

    def close(self) -> None:
        """Write what waits, and close it."""
        self._write_on()
        if self._socket is not None:
            self._socket.close()
        elif self._path is not None:
            os.close(self._fd)

    def _open(self) -> None:
        if self._path is not None:
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | getattr(os, "O_NOFOLLOW", 0)
            self._fd = os.open(self._path, flags, 0o600)
        elif self._to == "syslog":
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            self._socket.connect(_SYSLOG)
        else:
            self._fd = 1

    def _write_on(self) -> None:
        self._follow()
        try:
            while self._waiting:
                end = self._waiting.index(b"\n") + 1
                self._begun += self._put(bytes(self._waiting[self._begun : end]))
                if self._begun == end:
                    del self._waiting[:end]
                    self._begun = 0
        except OSError as error:
            if not self._failed:
                _log.error("the audit log cannot be written", error=str(error))
            self._failed = True
        else:
            if self._failed:
                _log.warning("the audit log is written again")
            self._failed = False

    def _put(self, line: bytes) -> int:
        """How many bytes of it were written."""
        if self._socket is None:
            return os.write(self._fd, line)
        self._socket.send(_AUTHPRIV_INFO + line.rstrip())
        return len(line)

    def _follow(self) -> None:
        """Open the file anew where it was moved away or removed, as programs that rotate logs do."""
        now = time.monotonic()
        if self._path is None or now - self._looked < _LOOK_EVERY:
            return
        self._looked = now
        try:
            there, ours = self._path.stat(), os.fstat(self._fd)
            if (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino):
                return
        except OSError:
            pass
        self.reopen()
