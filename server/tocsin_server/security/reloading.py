"""Files that are read anew while the server runs, and stay as they were where the new ones cannot be used."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Generic, TypeVar

import structlog

from tocsin_server.background import Loop

T = TypeVar("T")

#: Seconds between two looks at files. What was revoked is refused within 5 s.
EVERY = 1.0

_log: structlog.typing.FilteringBoundLogger = structlog.get_logger("tocsin.server")


class Unusable(Exception):
    """A file is not there, or holds nothing that can be used. The message is one line, without anything of it."""


class Reloaded(Generic[T]):
    """What stands in some files: `current`, as it could be read last.

    Raises Unusable where it cannot be read at first. Later that is logged, and what was read before stays.
    """

    def __init__(self, what: str, paths: Sequence[Path], read: Callable[[], T]) -> None:
        """`what` they hold, as it is called in the log; `read` raises Unusable."""
        self._what = what
        self._paths = tuple(paths)
        self._read = read
        self._seen = self._doubtful = _signs(self._paths)
        self.current = read()

    def look(self) -> bool:
        """Read anew if a file has changed; whether something else is `current` now.

        What cannot be used is looked at once more before it is told: several files are not replaced in one step.
        """
        signs = _signs(self._paths)
        if signs == self._seen:
            return False
        try:
            fresh = self._read()
        except Unusable as error:
            if signs == self._doubtful:
                self._seen = signs
                _log.error(f"{self._what} cannot be used, the ones read before stay in force", why=str(error))
            self._doubtful = signs
            return False
        if _signs(self._paths) != signs:  # changed while it was read
            return False
        self.current, self._seen = fresh, signs
        _log.info(f"{self._what} were read anew")
        return True


class Looking:
    """Does something each second, from `start` to `close`: looks at files, ends what has expired."""

    def __init__(self, look: Callable[[], object]) -> None:
        self._look = look
        self._loop = Loop(self._run, "looking")

    def start(self) -> None:
        """Begin."""
        self._loop.start()

    async def close(self) -> None:
        """Look no more."""
        await self._loop.close()

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(EVERY)
            try:
                self._look()
            except Exception:  # it must go on: what is revoked hangs on it
                _log.exception("looking_failed")


def read_file(path: Path, *, secret: bool = False, guarded: bool = False) -> bytes:
    """What is in it. Unusable, also where it is `secret` and others than its owner may read it, or `guarded` and they
    may write it."""
    try:
        with path.open("rb") as file:
            found = os.fstat(file.fileno())
            if secret and os.name == "posix" and open_to_others(found.st_mode, found.st_uid, os.geteuid()):
                raise Unusable(
                    f"{path} can be read by others than its owner (mode {found.st_mode & 0o7777:04o}): chmod 600 it"
                )
            if guarded and os.name == "posix" and found.st_mode & 0o022:
                raise Unusable(
                    f"{path} can be written by others than its owner (mode {found.st_mode & 0o7777:04o}): chmod 644 it"
                )
            return file.read()
    except OSError as error:
        raise Unusable(f"{path} cannot be read: {error.strerror or error}") from None


def open_to_others(mode: int, owner: int, user: int) -> bool:
    """Whether a file's mode lets others read or change it. PostgreSQL's rule for its keys: a group may read what is
    root's and used by somebody else, for so are secrets laid into containers."""
    return bool(mode & (0o027 if owner == 0 and user != 0 else 0o077))


def _signs(paths: Sequence[Path]) -> tuple[tuple[int, int, int] | None, ...]:
    """What changes when a file does; None: it is not there. Links are followed: in containers only they change."""
    signs: list[tuple[int, int, int] | None] = []
    for path in paths:
        try:
            found = path.stat()
        except OSError:
            signs.append(None)
        else:
            signs.append((found.st_mtime_ns, found.st_size, found.st_ino))
    return tuple(signs)
