"""Real `tocsin serve` processes: started on a free port, awaited by health, stopped or killed, started again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from support.ports import free_port

TESTS = Path(__file__).resolve().parent.parent

#: What would steer a server under test from outside.
_FOREIGN = ("TOCSIN_", "REDIS_", "QUEUE_", "MONGODB_")


class ServerDied(AssertionError):
    """A server ended before it served; the message has what it said."""


@dataclass
class Server:
    """One server process at a time, on one port, with one set of flags. `log` collects what all its runs said."""

    folder: Path
    flags: Sequence[str] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    command: str = "serve"
    program: Sequence[str] = (sys.executable, "-m", "tocsin.cli.main")
    port: int = field(default_factory=free_port)
    health_port: int = 0  # of a plaintext port for probes, by which it is awaited where the other one speaks TLS
    process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """Where it serves: "127.0.0.1:PORT"."""
        return f"127.0.0.1:{self.port}"

    @property
    def log(self) -> Path:
        """The file that has standard output and standard error."""
        return self.folder / f"server-{self.port}.log"

    @property
    def pid(self) -> int:
        """Process id of the run under way."""
        assert self.process is not None
        return self.process.pid

    def launch(self) -> Server:
        """Start the process without waiting for it."""
        assert self.process is None or self.process.poll() is not None, "it runs already"
        self.folder.mkdir(parents=True, exist_ok=True)
        environment = {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)}
        # Handlers of tests, and what this Python imports from where.
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(TESTS), os.environ.get("PYTHONPATH")]))
        environment.update(self.env)
        arguments = [*self.program, self.command, "--listen", self.address, *self.flags]
        if self.health_port:
            environment["TOCSIN_HEALTH_LISTEN"] = f"127.0.0.1:{self.health_port}"
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                arguments, env=environment, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        return self

    def start(self, timeout: float = 60) -> Server:
        """Start the process and wait until its health is SERVING. Raises ServerDied with its log."""
        self.launch()
        self.wait_health(health_pb2.HealthCheckResponse.SERVING, timeout)
        return self

    def wait_health(self, wanted: int, timeout: float = 30, service: str = "") -> None:
        """Wait for a health status, by Watch. Raises ServerDied if the process ends first or it takes too long."""
        process = self.process
        assert process is not None
        with grpc.insecure_channel(f"127.0.0.1:{self.health_port or self.port}") as channel:
            watch = health_pb2_grpc.HealthStub(channel).Watch(
                health_pb2.HealthCheckRequest(service=service), wait_for_ready=True, timeout=timeout
            )
            seen = threading.Event()

            def cancel_when_dead() -> None:
                process.wait()
                if not seen.is_set():
                    watch.cancel()

            threading.Thread(target=cancel_when_dead, daemon=True).start()
            try:
                for answer in watch:
                    if answer.status == wanted:
                        seen.set()
                        watch.cancel()
                        return
            except grpc.RpcError as error:
                raise ServerDied(f"{self.address}: {error.code()}, it said:\n{self.said()}") from error
        raise ServerDied(f"{self.address}: its health watch ended, it said:\n{self.said()}")

    def said(self, limit: int = 6_000) -> str:
        """The end of its log."""
        return self.log.read_text(errors="replace")[-limit:] if self.log.exists() else ""

    def terminate(self) -> None:
        """Ask it to stop (SIGTERM), without waiting."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)

    def wait(self, timeout: float = 30) -> int:
        """Wait for its end; the exit code."""
        assert self.process is not None
        return self.process.wait(timeout)

    def stop(self, timeout: float = 30) -> int:
        """SIGTERM and wait; the exit code. Killed if it takes longer, and then AssertionError."""
        if self.process is None or self.process.poll() is not None:
            return 0 if self.process is None else self.process.returncode
        self.terminate()
        try:
            return self.wait(timeout)
        except subprocess.TimeoutExpired as error:
            self.kill()
            raise AssertionError(f"{self.address} did not stop within {timeout} s:\n{self.said()}") from error

    def kill(self) -> None:
        """kill -9, and wait until it is gone."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
        if self.process is not None:
            self.process.wait()

    def restart(self) -> Server:
        """Start it again, on the same port with the same flags, after its end."""
        return self.start()


class Supervisor:
    """Starts a server again whenever its process ends, as systemd or Kubernetes would. A context manager."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.deaths = 0
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Supervisor:
        self.server.start()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self.server.kill()
        self._thread.join()
        self.server.kill()

    def _watch(self) -> None:
        while True:
            self.server.wait(timeout=3600)
            if self._stopping.is_set():
                return
            self.deaths += 1
            self.server.launch()
