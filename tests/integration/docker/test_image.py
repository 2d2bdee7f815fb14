"""What a container would do, done by plain processes: the image's command, its health check, `docker stop`.

In the full run also the steps of the Dockerfile themselves: the package is built and installed as they say.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.eventually import until
from support.journal import Journal
from support.servers import Server
from support.stubs import State, Stubs

from integration.docker.dockerfile import carry_out, stages, within

IMAGE = stages()[-1]

HEALTHY, UNHEALTHY = 0, 1


@dataclass(frozen=True, slots=True)
class Container:
    """A folder that stands for a container's file system, and what is started in it."""

    root: Path
    programs: Path

    def server(self, **env: str) -> Server:
        """The image's command, to be started; on a port of its own, seen by this machine only."""
        program, command = IMAGE.command
        own = {name: within(self.root, value) for name, value in IMAGE.environment.items() if name != "PATH"}
        return Server(self.root, env={**own, **env}, command=command, program=[str(self.programs / program)])

    def health(self, server: Server) -> int:
        """The exit code of the image's health check beside this server."""
        environment = {"PATH": f"{self.programs}:{os.defpath}", "TOCSIN_ADDRESS": server.address}
        return subprocess.run(IMAGE.health_check, env=environment, timeout=20).returncode


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file system that the Dockerfile's steps make."""
    root = tmp_path_factory.mktemp("image")
    carry_out(root)
    return root


@pytest.fixture(
    params=["this environment", pytest.param("a built one", marks=[pytest.mark.full, pytest.mark.timeout(600)])]
)
def container(request: pytest.FixtureRequest, tmp_path: Path) -> Container:
    if request.param == "this environment":
        return Container(tmp_path, Path(sys.executable).parent)
    root = request.getfixturevalue("built")
    return Container(root, Path(within(root, "/opt/tocsin/bin")))


@pytest.fixture
def start(container: Container) -> Iterator[Callable[..., Server]]:
    """Starts the image's server and waits until it serves; all are killed at the test's end."""
    servers: list[Server] = []

    def start(**env: str) -> Server:
        servers.append(container.server(**env))
        return servers[-1].start()

    yield start
    for server in servers:
        server.kill()


def test_a_stopped_container_drains_and_the_next_one_on_its_volume_has_the_jobs(
    start: Callable[..., Server], journal: Journal
) -> None:
    env = {"TOCSIN_HANDLERS": "support.jobs.everyday", **journal.env}
    first = start(**env)
    with Stubs(first.address) as stubs:
        stubs.schedule("default", "half_a_second", job_id="running")
        stubs.schedule("default", "half_a_second", job_id="later", delay=3600)
        until(lambda: journal.lines("start"), within=10, what="the job runs")
    assert first.stop() == 0
    assert [line.job_id for line in journal.lines("end")] == ["running"], "it was not waited for"

    second = start(**env)
    with Stubs(second.address) as stubs:
        assert stubs.get("default", "running").state == State.COMPLETED
        assert stubs.get("default", "later").state == State.SCHEDULED
    assert second.stop() == 0


def test_a_container_is_healthy_while_its_server_serves_and_not_when_it_is_gone(
    container: Container, start: Callable[..., Server]
) -> None:
    server = start()
    assert container.health(server) == HEALTHY
    server.kill()
    assert container.health(server) == UNHEALTHY


@pytest.mark.full
@pytest.mark.timeout(600)
def test_the_built_environment_has_the_package_itself_and_all_that_it_needs(built: Path) -> None:
    python = within(built, "/opt/tocsin/bin/python")
    code = "import tocsin, tocsin_server; print(tocsin.__file__, tocsin_server.__file__)"
    said = subprocess.run([python, "-I", "-c", code], capture_output=True, text=True, check=True).stdout
    assert [path.startswith(within(built, "/opt/tocsin/lib/")) for path in said.split()] == [True, True]
    subprocess.run([python, "-m", "pip", "check"], check=True)
