"""`tocsin worker` and `tocsin worker exec`: what is understood, what is refused, and the lines of docs/workers.md."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import tocsin.cli.worker
from support.source_tree import ROOT
from tocsin import Worker
from unit.client.cli.conftest import Tocsin

PAGE = (ROOT / "docs/workers.md").read_text()
LINES = [
    line
    for text in ((ROOT / "docs/cli.md").read_text().replace("`", "\n"), PAGE.replace("`", "\n"))
    for line in text.splitlines()
    if re.match(r"tocsin worker (\w+\.\w+|exec) -", line)
]
JOBS = "from tocsin import Handlers\nhandlers = Handlers()\n@handlers.on('t')\ndef t(job): ...\n"


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[dict[str, Any]]:
    """What workers were made with; none runs. In the folder are handlers and a program."""
    found: list[dict[str, Any]] = []

    class Kept(Worker):
        def __init__(self, **settings: Any) -> None:
            found.append(settings)
            super().__init__(**settings)

        def run(self) -> None:
            """It need not."""

    monkeypatch.setattr(tocsin.cli.worker, "Worker", Kept)
    monkeypatch.setattr(tocsin.cli.worker, "_log_to_standard_error", lambda level: None)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "myapp").mkdir()
    (tmp_path / "myapp/jobs.py").write_text(JOBS)
    (tmp_path / "transcode.sh").write_text("#!/bin/sh\n")
    (tmp_path / "transcode.sh").chmod(0o755)
    return found


@pytest.mark.parametrize("line", sorted(set(LINES)))
async def test_each_line_of_the_pages_is_understood(line: str, tocsin: Tocsin, made: list[dict[str, Any]]) -> None:
    done = await tocsin(*shlex.split(line)[1:])
    assert (done.code, done.err) == (0, "")
    [settings] = made
    assert len(settings["handlers"]) == 1


def test_there_are_lines_on_the_pages() -> None:
    assert len(set(LINES)) >= 4


async def test_all_that_can_be_said_reaches_the_worker(tocsin: Tocsin, made: list[dict[str, Any]]) -> None:
    words = "myapp.jobs -s a,b:7 -q x -q y --concurrency 3 --name n --version 2.1 --label a=b --label c=d"
    done = await tocsin("worker", *words.split(), "--lease", "1m", "--grace", "5s", "--tls", "--token", "t")
    assert done.code == 0, done
    [settings] = made
    assert settings.pop("handlers").get("t").name == "myapp.jobs.t"
    assert {name: str(value) for name, value in settings.items()} == {
        "address": "a,b:7",
        "queues": "['x', 'y']",
        "concurrency": "3",
        "name": "n",
        "version": "2.1",
        "labels": "{'a': 'b', 'c': 'd'}",
        "lease": "0:01:00",
        "grace": "0:00:05",
        "tls": "True",
        "token": "t",
    }


async def test_a_program_runs_several_types(tocsin: Tocsin, made: list[dict[str, Any]]) -> None:
    done = await tocsin(
        "worker", "exec", "-t", "a", "-t", "b", "--kill-after", "9s", "--", "./transcode.sh", "--version"
    )
    assert done.code == 0, done
    handlers = made[0]["handlers"]
    assert list(handlers) == ["a", "b"]
    assert handlers.get("b").command == ("./transcode.sh", "--version")
    assert made[0]["stop_grace"].total_seconds() == 9
    assert made[0]["concurrency"] >= 1


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("nosuch.jobs", "there is no module 'nosuch.jobs'"),
        ("myapp.jobs:other", "has no 'other'"),
        ("myapp.jobs myapp.jobs", "has a handler already"),
        ("myapp.jobs --concurrency 0", "concurrency: is 0"),
        ("myapp.jobs --lease 1s", "lease: is 5 s to 1 h"),
        ("myapp.jobs --server http://x", "without http"),
        ("myapp.jobs --queue a/b", "'a/b' is no queue"),
        ("exec --type t -- ./nosuch.sh", "there is no program './nosuch.sh'"),
        ("exec --type a/b -- ./transcode.sh", "'a/b' is no job type"),
    ],
)
async def test_what_cannot_be_meant_exits_2_with_a_line(
    words: str, says: str, tocsin: Tocsin, made: list[dict[str, Any]]
) -> None:
    done = await tocsin("worker", *words.split())
    assert done.code == 2, done
    assert done.err.startswith("tocsin worker: ")
    assert done.err.count("\n") == 1
    assert says in done.err


async def test_the_help_of_the_group_names_both_ways(tocsin: Tocsin) -> None:
    done = await tocsin("worker", "--help")
    assert done.code == 0
    assert "tocsin worker run myapp.jobs" in done.out
    assert "exec" in done.out
