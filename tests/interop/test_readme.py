"""README.md's first job: its module, its server and its lines, read out of the page and typed as they stand there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.eventually import until
from support.servers import Server
from support.source_tree import ROOT

pytestmark = pytest.mark.timeout(420)  # a first build of grpcurl may be awaited

SECTION = (ROOT / "README.md").read_text().partition("## A first job of your own\n")[2].partition("\n## ")[0]
CODE = re.compile(r"^```([a-z]+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BLOCKS = [(kind, text) for kind, text in CODE.findall(SECTION)]
SERVER = re.findall(r"`(tocsin dev [^`]*)`", SECTION)
PORT = "50051"  # where the page's server is


def test_the_page_has_what_is_tried_here() -> None:
    assert [kind for kind, _ in BLOCKS] == ["python", "console", "console", "python"]
    assert SERVER == ["tocsin dev --handlers myapp.jobs --reload"]


@pytest.fixture
def dev(tmp_path: Path) -> Iterator[Server]:
    """The page's server, in the folder that holds the page's module and nothing else."""
    [module] = re.findall(r"in a module of yours, `([^`]*)`", SECTION)
    (tmp_path / module).parent.mkdir()
    (tmp_path / module).write_text(BLOCKS[0][1])
    program, command, *flags = SERVER[0].split()
    here = str(Path(sys.executable).with_name(program))
    server = Server(tmp_path, flags, {"PYTHONPATH": ""}, command=command, program=[here])
    yield server.start()
    assert server.stop() == 0


def typed(line: str, dev: Server, *folders: str) -> str:
    """Runs it as a shell with the page's environment would; what it prints. It must end with 0."""
    path = ":".join([str(Path(sys.executable).parent), *folders, os.environ["PATH"]])
    done = subprocess.run(
        ["sh", "-c", line.replace(PORT, str(dev.port))],
        env={"PATH": path, "TOCSIN_ADDRESS": dev.address, "TERM": "dumb", "COLUMNS": "200"},
        cwd=dev.folder,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, f"$ {line}\n{done.stdout}{done.stderr}\nthe server said:\n{dev.said()}"
    return done.stdout


def ended(dev: Server, number: int) -> Callable[[], bool]:
    """Whether the server has said so of this many of the page's jobs."""
    said = re.compile(r"resize_image \S+ COMPLETED in ")
    return lambda: len(said.findall(dev.said(100_000))) == number


def test_the_first_job_runs_from_the_shell_grpcurl_and_python(dev: Server, go_tool: Callable[[str], str]) -> None:
    [schedule, list_], [grpcurl] = (re.findall(r"^\$ (.*)$", text, re.MULTILINE) for _, text in BLOCKS[1:3])
    assert "scheduled" in typed(schedule, dev)
    assert "resize_image" in typed(list_, dev)
    assert '"state": "SCHEDULED"' in typed(grpcurl, dev, str(Path(go_tool("grpcurl")).parent))
    until(ended(dev, 2), within=30)
    text = BLOCKS[3][1].replace("'", "'\\''")
    assert typed(f"python -c '{text}'", dev).split() == ["COMPLETED"]
    until(ended(dev, 3), within=30)
    assert "half way" in dev.said(100_000)  # "prints a line for whatever happens to jobs"
