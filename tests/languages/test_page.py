"""docs/other-languages.md, its programs compiled and run as they stand there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.servers import Server

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/other-languages.md").read_text()


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


def test_typescript(dev: Server, site: Path, npm_packages: Path, tmp_path: Path) -> None:
    [program] = re.findall(r"^```ts\n(.*?)^```", PAGE, re.M | re.S)
    (tmp_path / "main.ts").write_text(program)
    (tmp_path / "package.json").write_text('{"type": "module"}')
    (tmp_path / "node_modules").symlink_to(npm_packages)
    commands = re.findall(r"^```sh\n(.*?)^```", PAGE, re.M | re.S)[1].replace("localhost:50051", dev.address)
    environment = {**os.environ, "SITE": str(site), "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "-ec", commands], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 0, done.stdout + done.stderr
    *states, message, violation = done.stdout.splitlines()
    assert states[-1] == "COMPLETED"
    assert message.startswith("3 INVALID_ARGUMENT: job.type")
    assert violation.startswith("job.type has a character")
