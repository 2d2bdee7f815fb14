"""The worked examples of the pages, as they stand there, from the old service to the last job run here."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from support import node_tools
from support.redis_backend import RedisBackend
from support.servers import Server
from support.source_tree import ROOT
from tocsin import Client

#: The jobs of each example that wait, and run once they are here.
WAITING = {"from-bull.md": ("3", "4"), "from-bullmq.md": ("3", "4", "child")}


@dataclass(frozen=True, slots=True)
class Example:
    """A page's example."""

    text: str

    def block(self, language: str) -> str:
        """The one block of a language, without the indent of the list it stands in."""
        [(indent, text)] = re.findall(rf"^( *)```{language}\n(.*?)^ *```", self.text, re.M | re.S)
        return re.sub(rf"^{indent}", "", text, flags=re.M)

    def shown_after(self, command: str) -> list[str]:
        """The lines that the page shows below a command."""
        after = self.text[self.text.index(command) :].splitlines()[1:]
        return [line.strip() for line in after[: after.index("   ```")]]

    def commands(self, name: str) -> list[str]:
        """The page's commands that begin so."""
        return re.findall(rf"^ *\$ ({name} .*)$", self.text, re.M)


@pytest.fixture(params=WAITING)
def page(request: pytest.FixtureRequest) -> str:
    """One page after another."""
    return str(request.param)


@pytest.fixture
def example(page: str) -> Example:
    """What stands before the page's tables."""
    return Example((ROOT / "docs" / page).read_text().partition("## Where a job stands")[0])


def table(lines: list[str]) -> list[list[str]]:
    """Words of lines; times and what follows from them are one word for all."""
    return [re.sub(r":\d{13}\b|\d{4}-\d\d-\d\dT\S+", "TIME", line).split() for line in lines if line.strip()]


@pytest.fixture
def old(source: RedisBackend, npm_packages: Path, tmp_path: Path, example: Example) -> Path:
    """A folder with what the page's reader has: the old service, which has run, and the new handlers."""
    [install] = example.commands("npm install")
    node_tools.installed(install.split()[2:], tmp_path, npm_packages)
    (tmp_path / "old.mjs").write_text(example.block("js").replace("localhost:6379", f"127.0.0.1:{source.port}"))
    (tmp_path / "jobs.py").write_text(example.block("python"))
    done = subprocess.run([node_tools.node(), "old.mjs"], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return tmp_path


def run(folder: Path, command: str, source: RedisBackend, *, address: str = "", code: int = 0) -> list[str]:
    """What a command of the page says, run in the folder against these servers; `code` is how it ends."""
    words = command.replace("localhost:6379", f"127.0.0.1:{source.port}").split()
    assert words[0] == "tocsin"
    done = subprocess.run(
        [sys.executable, "-m", "tocsin_server" if words[1] == "migrate" else "tocsin.cli.main", *words[1:]],
        cwd=folder,
        env={**os.environ, "TOCSIN_ADDRESS": address},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == code, done.stderr
    return done.stdout.splitlines()


def test_the_example_goes_as_it_is_told(page: str, example: Example, old: Path, source: RedisBackend) -> None:
    dry, real = example.commands("tocsin migrate")
    # What repeats, and what is done, is left there.
    assert table(run(old, dry, source, code=3)) == table(example.shown_after(dry))
    assert run(old, real, source, code=3)[-2:] == example.shown_after(real)
    lines = [json.loads(line) for line in (old / "brought.jsonl").read_text().splitlines()]
    table_rows = [row.split() for row in example.shown_after(dry) if row.startswith("images ")]
    assert len(lines) == sum(int(number) for row in table_rows for number in row[2:])

    [serve] = example.commands("tocsin serve")
    flags = serve.replace("localhost:6379", f"127.0.0.1:{source.port}").removesuffix(" &").split()[2:]
    server = Server(old, flags).start()
    try:
        [resume], [listing] = example.commands("tocsin queues"), example.commands("tocsin jobs")
        assert run(old, resume, source, address=server.address) == example.shown_after(resume)[:1]
        with Client(server.address) as client:
            for job_id in WAITING[page]:
                assert client.wait(job_id, queue="images", timeout=20).state == "COMPLETED"
        assert table(run(old, listing, source, address=server.address)) == table(example.shown_after(listing))
    finally:
        server.kill()
