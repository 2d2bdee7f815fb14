"""A set of short marks that may be larger than memory."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

_CACHE_KIB = 4 << 10  # of memory; with more marks than that, some 200,000, the rest is in the temporary folder


class NoRoom(Exception):
    """The temporary folder cannot hold the rest; the message says what to do."""


class Marks:
    """In a table of SQLite's without a name, which is a file in the temporary folder once its cache is full, and gone
    when it is closed or the process dies. NoRoom from each of its verbs."""

    def __init__(self) -> None:
        self._table = sqlite3.connect("")
        # Nothing of it outlives the process, so nothing is written twice or waited for.
        for line in ("PRAGMA journal_mode = OFF", "PRAGMA synchronous = OFF", f"PRAGMA cache_size = -{_CACHE_KIB}"):
            self._table.execute(line)
        self._table.execute("CREATE TABLE marks (mark BLOB PRIMARY KEY) WITHOUT ROWID")

    def add(self, marks: Iterable[bytes]) -> None:
        """Those that are in it already are left."""
        try:
            self._table.executemany("INSERT OR IGNORE INTO marks VALUES (?)", ((mark,) for mark in marks))
        except sqlite3.Error as error:
            raise _no_room(error) from error

    def __contains__(self, mark: bytes) -> bool:
        try:
            return self._table.execute("SELECT 1 FROM marks WHERE mark = ?", (mark,)).fetchone() is not None
        except sqlite3.Error as error:
            raise _no_room(error) from error

    def close(self) -> None:
        """Let go of its memory and its file."""
        self._table.close()


def _no_room(error: sqlite3.Error) -> NoRoom:
    return NoRoom(f"what was brought in before cannot be kept at hand: {error}; TMPDIR names a folder with more room")
