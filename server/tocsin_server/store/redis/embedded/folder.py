"""The data folder of an embedded store: one server at a time, and never two Valkeys."""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import os
import stat
import tempfile
from pathlib import Path

import structlog

from tocsin_server.store.interface import StoreUnfit

_log: structlog.typing.FilteringBoundLogger = structlog.get_logger("tocsin.embedded")

SERVER_LOCK = "server.lock"
STORE_LOCK = "valkey.lock"

#: A Unix socket's path has room for 108 bytes with its final NUL on Linux, for 104 elsewhere.
SOCKET_PATH_BYTES = 103


class FileLock:
    """A lock on a file, which holds the pid of the process it was taken for. Goes with the last process that has it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    @property
    def descriptor(self) -> int:
        """Its file descriptor; a child that inherits it holds the lock, too."""
        if self._descriptor is None:
            raise RuntimeError("the lock is not held")
        return self._descriptor

    def take(self, pid: int) -> bool:
        """Take it for `pid`, False where another process has it."""
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return False
        self._descriptor = descriptor
        self.note(pid)
        return True

    def note(self, pid: int) -> None:
        """Write down for whom it is held."""
        os.truncate(self.descriptor, 0)
        os.pwrite(self.descriptor, f"{pid}\n".encode(), 0)

    def stands(self) -> bool:
        """Whether the file that is locked is still the one of that name."""
        try:
            return os.path.samestat(os.stat(self._path), os.fstat(self.descriptor))
        except OSError:
            return False

    def holder(self) -> str:
        """The pid that was written down, "?" where none was."""
        return self._path.read_text().strip() or "?"

    def release(self) -> None:
        """Give it back, as far as this process goes."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


class DataFolder:
    """A folder that this server has to itself, from `take` to `release`.

    Two locks: this server's, and one that the Valkey started here inherits. So after a kill -9 of the server the folder
    is free again only when its Valkey has gone, too.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self._server = FileLock(self.path / SERVER_LOCK)
        self.store = FileLock(self.path / STORE_LOCK)

    def exists(self) -> bool:
        """Whether a server was ever here."""
        return (self.path / SERVER_LOCK).exists()

    async def take(self) -> None:
        """Make the folder and take it. StoreUnfit names the process that has it."""
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._close_to_others()
            # A server that was killed a moment ago may still be on its way out.
            taken = await _taken(self._server, within=1.0)
        except OSError as error:
            raise StoreUnfit(f"the data folder {self.path} cannot be used: {error.strerror}") from None
        if not taken:
            raise StoreUnfit(
                f"the data folder {self.path} is in use by the server with pid {self._server.holder()}: "
                "stop that one, or choose another folder (TOCSIN_DATA)"
            )

    def held(self) -> bool:
        """Whether it is still the folder that was taken: neither removed nor replaced."""
        return self._server.stands() and self.store.stands()

    def _close_to_others(self) -> None:
        """The files have all payloads, and who may write here could put files of his own in their place."""
        mode = stat.S_IMODE(self.path.stat().st_mode)
        if mode & 0o022:
            raise StoreUnfit(
                f"the data folder {self.path} can be written to by others than its owner (mode {mode:o}): "
                f"run chmod go-w on it, or name a folder in it, which the server makes for itself (TOCSIN_DATA="
                f"{self.path / 'store'})"
            )
        if mode & 0o077:
            self.path.chmod(0o700)
            _log.warning(
                "others could enter the data folder: closed it to them", folder=str(self.path), mode=f"{mode:o}"
            )

    async def take_store(self, within: float) -> bool:
        """Wait until no Valkey of an earlier server runs on it; False where one stays longer than `within` seconds."""
        return await _taken(self.store, within)

    def release(self) -> None:
        """Let others have it."""
        self.store.release()
        self._server.release()

    def socket(self) -> Path:
        """Where the store's socket is: in the folder, or where its path is too long in a short one of the same user."""
        path = self.path / "valkey.sock"
        if len(os.fsencode(path)) <= SOCKET_PATH_BYTES:
            return path
        digest = hashlib.sha256(os.fsencode(self.path)).hexdigest()[:12]
        short = Path(tempfile.gettempdir()) / f"tocsin-{os.geteuid()}-{digest}"
        path = short / "valkey.sock"
        if len(os.fsencode(path)) > SOCKET_PATH_BYTES:
            raise StoreUnfit(f"the path of the data folder is too long for a socket, and so is that of {short.parent}")
        short.mkdir(mode=0o700, exist_ok=True)
        found = short.lstat()
        # Anybody may make a folder in /tmp: one that others can enter would let them put their own socket there.
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or stat.S_IMODE(found.st_mode) & 0o077:
            raise StoreUnfit(f"{short} must be a folder that only this user can enter: remove it")
        return path


def check_can_be_made(path: Path) -> None:
    """StoreUnfit where a server could not make its data folder here, or write into it. Makes nothing."""
    folder = path.absolute()
    while not os.path.lexists(folder):
        folder = folder.parent
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        raise StoreUnfit(f"the data folder {path} cannot be used: {folder} is no folder that this user may write to")


async def _taken(lock: FileLock, within: float) -> bool:
    deadline = asyncio.get_running_loop().time() + within
    while not lock.take(os.getpid()):
        if asyncio.get_running_loop().time() > deadline:
            return False
        # The kernel tells nobody when a lock comes free, and waiting for it would take a thread.
        await asyncio.sleep(0.02)
    return True
