"""The commands of the Redis compose files, run as plain processes: names and addresses become ports of this machine."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from support.eventually import until
from support.ports import free_port
from support.redis_servers import REDIS
from support.servers import Server
from support.stubs import State, Stubs

from integration.docker.dockerfile import DOCKERFILE
from integration.docker.test_compose import read

pytestmark = pytest.mark.skipif(
    REDIS is None or shutil.which("redis-cli") is None, reason="redis-server or redis-cli is not on PATH"
)


class Composed:
    """The services of one file. A context manager; all that was started is killed at its end."""

    def __init__(self, name: str, folder: Path) -> None:
        self._folder = folder
        self._services: dict[str, dict[str, Any]] = read(DOCKERFILE.with_name(name))["services"]
        self.stores = [name for name in self._services if "healthcheck" in self._services[name]]
        self._ports = {name: free_port() for name in self.stores}
        self._buses = {name: free_port() for name in self.stores}
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Composed:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes.values():
            process.kill()
            process.wait()

    def here(self, text: str) -> str:
        """The same where each service is a port of this machine."""
        for name, port in self._ports.items():
            networks = self._services[name].get("networks", {})
            addresses = [network["ipv4_address"] for network in networks.values()]
            for address in (name, *addresses):
                text = re.sub(rf"\b{re.escape(address)}:6379\b", f"127.0.0.1:{port}", text)
            text = re.sub(rf"\b{name}\b", str(port), text)
        # Compose puts its own variables in, of which there are none here; "$$" is a "$".
        text = re.sub(r"\$(\$|\w+)", lambda found: "$" if found[1] == "$" else "", text)
        return text.replace("redis-cli -h", "redis-cli -p")

    def start_stores(self) -> None:
        """Start those that keep data, and wait until they are healthy."""
        for name in self.stores:
            data = self._folder / name
            data.mkdir(exist_ok=True)
            place = ["--port", str(self._ports[name]), "--bind", "127.0.0.1", "--dir", str(data)]
            # Left out, a node's second port is 10,000 above the first: among those of outgoing connections.
            place += ["--cluster-port", str(self._buses[name])]
            self._processes[name] = subprocess.Popen(
                [*self._services[name]["command"], *place], stdout=subprocess.DEVNULL
            )
        for name in self.stores:
            until(lambda name=name: self.healthy(name), within=10, what=f"{name} is healthy")

    def stop_store(self, name: str) -> None:
        """SIGTERM, as `docker stop`; waits for its end."""
        process = self._processes.pop(name)
        process.terminate()
        process.wait(20)

    def healthy(self, name: str) -> bool:
        """What its health check says."""
        shell, check = self._services[name]["healthcheck"]["test"]
        assert shell == "CMD-SHELL"
        check = check.replace("redis-cli", f"redis-cli -p {self._ports[name]}")
        return subprocess.run(["sh", "-c", check], stderr=subprocess.DEVNULL).returncode == 0

    def holds_keys(self, name: str) -> bool:
        """Whether anything is kept there."""
        with Redis(port=self._ports[name]) as client:
            return bool(client.dbsize())

    def run(self, name: str) -> str:
        """Run a service that ends by itself; what it printed. CalledProcessError if it fails."""
        command = [self.here(part) for part in self._services[name]["command"]]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout

    @property
    def environment(self) -> dict[str, str]:
        """What the server is given."""
        given = dict(self._services["tocsin"]["environment"])
        if "REDIS_HOST" in given:
            given["REDIS_PORT"] = str(self._ports[given["REDIS_HOST"]])
            given["REDIS_HOST"] = "127.0.0.1"
        return {variable: self.here(value) if variable == "REDIS_URL" else value for variable, value in given.items()}


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[Composed], Server]]:
    """Starts the server of a file; killed at the test's end."""
    servers: list[Server] = []

    def start(composed: Composed) -> Server:
        servers.append(Server(tmp_path, ["--handlers", "support.jobs.everyday"], composed.environment))
        return servers[-1].start()

    yield start
    for server in servers:
        server.kill()


def run_jobs(server: Server, *queues: str) -> None:
    with Stubs(server.address) as stubs:
        for queue in queues:
            job = stubs.schedule(queue, "noop")
            assert stubs.wait_for(queue, job.job_id).state == State.COMPLETED


def test_the_redis_is_healthy_runs_jobs_and_keeps_them(tmp_path: Path, start: Callable[[Composed], Server]) -> None:
    with Composed("compose.redis.yaml", tmp_path) as composed:
        assert not composed.healthy("redis")
        composed.start_stores()
        server = start(composed)
        run_jobs(server, "default")
        with Stubs(server.address) as stubs:
            stubs.schedule("default", "noop", job_id="kept", delay=3600)
        assert server.stop() == 0
        composed.stop_store("redis")
        composed.start_stores()
        with Stubs(start(composed).address) as stubs:
            assert stubs.get("default", "kept").state == State.SCHEDULED


def test_the_cluster_is_joined_once_and_runs_jobs_of_queues_on_all_nodes(
    tmp_path: Path, start: Callable[[Composed], Server]
) -> None:
    with Composed("compose.redis-cluster.yaml", tmp_path) as composed:
        composed.start_stores()
        assert "All 16384 slots covered" in composed.run("cluster")
        for name in composed.stores:
            composed.stop_store(name)
        composed.start_stores()
        assert composed.run("cluster") == "", "on the next start there is nothing to join"
        run_jobs(start(composed), *(f"queue-{number}" for number in range(9)))
        assert all(composed.holds_keys(name) for name in composed.stores)
