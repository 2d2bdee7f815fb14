"""A Redis on a TCP port for whole servers, with the questions that tests ask it."""

from __future__ import annotations

import hashlib
import threading
import time
from collections import Counter
from pathlib import Path

from redis import Redis

from support.ports import free_port
from support.redis_servers import REDIS, VALKEY, ServerProcess


class RedisBackend:
    """redis-server where there is one, else the wheel's valkey-server. A context manager."""

    provider = "redis"

    def __init__(self, folder: Path, *options: str) -> None:
        self._folder, self._options = folder, options
        self.port = free_port()
        self.url = self.url_at(self.port)

    def __enter__(self) -> RedisBackend:
        self._folder.mkdir(parents=True, exist_ok=True)
        address = ("--port", str(self.port), "--bind", "127.0.0.1")
        self._process = ServerProcess(REDIS or VALKEY, self._folder, *address, *self._options)
        self.client = Redis(unix_socket_path=str(self._process.socket))
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()
        self._process.stop()

    def stop(self) -> None:
        """Kill it."""
        self._process.stop()

    def start(self) -> None:
        """Start it again, empty."""
        self._process.start()

    def url_at(self, port: int) -> str:
        """The address for REDIS_URL by way of another port."""
        return f"redis://127.0.0.1:{port}"

    @property
    def pid(self) -> int:
        """Process id, for its processor time."""
        return self._process.process.pid

    def calls(self) -> dict[str, int]:
        """How often each command was called since the start, those that scripts call included."""
        stats = self.client.info("commandstats")
        return {name.removeprefix("cmdstat_"): int(figures["calls"]) for name, figures in stats.items()}

    def script_calls(self) -> int:
        """How often a script was called."""
        return sum(count for name, count in self.calls().items() if name in {"eval", "evalsha", "fcall", "evalsha_ro"})

    def asked(self, seconds: float) -> Counter[str]:
        """What clients ask in so many seconds, by command; what scripts do for one is not counted again."""
        found: Counter[str] = Counter()
        end = time.monotonic() + seconds
        with self.client.monitor() as commands:
            threading.Timer(seconds, self.client.ping).start()  # so that the last wait ends
            while time.monotonic() < end:
                command = commands.next_command()
                if command["client_type"] != "lua":
                    found[command["command"].split(" ", 1)[0].lower()] += 1
        return found

    def empty(self) -> None:
        """FLUSHALL."""
        self.client.flushall()

    def restart(self) -> None:
        """Kill it and start it again, with what it kept."""
        self._process.stop()
        self._process.start()

    def dump(self) -> dict[bytes, str]:
        """A fingerprint of every key: two equal dumps are two equal stores."""
        keys = sorted(self.client.scan_iter(count=1000))
        pipe = self.client.pipeline(transaction=False)
        for key in keys:
            # The names of queues by what they are: a large set's dump changes as reading it goes on to rehash it.
            pipe.smembers(key) if key.endswith(b":queues") else pipe.dump(key)
        found = zip(keys, pipe.execute(), strict=True)
        return {key: hashlib.sha256(_bytes(value)).hexdigest() for key, value in found}


def _bytes(value: set[bytes] | bytes | None) -> bytes:
    return b"\0".join(sorted(value)) if isinstance(value, set) else value or b""
