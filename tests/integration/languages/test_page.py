"""docs/other-languages.md, its programs compiled and run as they stand there."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support import go_tools
from support.servers import Server

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs/other-languages.md").read_text()

#: A first run on a machine fetches grpc, and for Go compiles it: minutes on 2 busy cores. Seconds later.
FIRST_RUN_SECONDS = 570
pytestmark = pytest.mark.timeout(FIRST_RUN_SECONDS + 30)


@pytest.fixture(scope="module")
def dev(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("dev"), command="dev")
    try:
        yield server.start()
    finally:
        server.kill()


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """What site-packages is where the wheel is installed."""
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / "tocsin").symlink_to(ROOT / "protos/tocsin")
    (folder / "google").symlink_to(Path(sysconfig.get_path("purelib")) / "google")
    return folder


def block(language: str, kind: str) -> str:
    """The one block of this kind under the language's heading."""
    [section] = re.findall(rf"^## {language}\n(.*?)(?=^## )", PAGE, re.M | re.S)
    [text] = re.findall(rf"^```{kind}\n(.*?)^```", section, re.M | re.S)
    return str(text)


def run(language: str, dev: Server, site: Path, folder: Path) -> list[str]:
    """The lines that the language's commands print in this folder."""
    commands = block(language, "sh")
    assert "localhost:50051" in commands
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"], str(go_tools.CACHE)])
    process = subprocess.Popen(
        ["bash", "-ec", commands.replace("localhost:50051", dev.address)],
        cwd=folder,
        env={**os.environ, "SITE": str(site), "PATH": path},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        out, err = process.communicate(timeout=FIRST_RUN_SECONDS)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)  # the compilers, too
            process.wait()
    assert process.returncode == 0, out + err
    return re.sub(r"\x1b\[[0-9;]*m", "", out).splitlines()  # Maven may switch colours off, in a file, too


def test_go(
    dev: Server, site: Path, compilers: Callable[..., None], go_tool: Callable[..., str], tmp_path: Path
) -> None:
    compilers("Go", "go")
    for plugin in ("protoc-gen-go", "protoc-gen-go-grpc"):
        go_tool(plugin, untried="languages")
        assert f"go install {go_tools.MODULES[plugin]}" in PAGE
    (tmp_path / "main.go").write_text(block("Go", "go"))
    health, *states, message, violation = run("Go", dev, site, tmp_path)
    assert (health, states[-1]) == ("SERVING", "COMPLETED")
    assert message.startswith("rpc error: code = InvalidArgument desc = job.type")
    assert violation.startswith("job.type has a character")


def test_java(dev: Server, site: Path, compilers: Callable[..., None], tmp_path: Path) -> None:
    compilers("Java", "java", "javac", "mvn")
    (tmp_path / "pom.xml").write_text(block("Java", "xml"))
    program = tmp_path / "src/main/java/Main.java"
    program.parent.mkdir(parents=True)
    program.write_text(block("Java", "java"))
    health, *states, message, violation = run("Java", dev, site, tmp_path)
    assert (health, states[-1]) == ("SERVING", "COMPLETED")
    assert message.startswith("INVALID_ARGUMENT: job.type")
    assert violation.startswith("job.type has a character")


def test_typescript(dev: Server, site: Path, npm_packages: Path, tmp_path: Path) -> None:
    (tmp_path / "main.ts").write_text(block("TypeScript", "ts"))
    (tmp_path / "package.json").write_text('{"type": "module"}')
    (tmp_path / "node_modules").symlink_to(npm_packages)
    *states, message, violation = run("TypeScript", dev, site, tmp_path)
    assert states[-1] == "COMPLETED"
    assert message.startswith("3 INVALID_ARGUMENT: job.type")
    assert violation.startswith("job.type has a character")
