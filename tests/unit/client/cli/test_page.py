"""docs/cli.md: each example is understood, and each command has its row."""

from __future__ import annotations

import re
import shlex
from functools import partial

import pytest
from support.ports import free_port
from support.source_tree import ROOT
from tocsin import Client
from tocsin.cli import connecting, jobs, queues
from unit.client.cli.conftest import Tocsin

PAGE = (ROOT / "docs/cli.md").read_text()
EXAMPLES = re.findall(r"`(tocsin [^`]*)`", PAGE) + re.findall(r"^(tocsin .*?)(?:  +#.*)?$", PAGE, re.MULTILINE)
#: What is tried elsewhere, or has its own exit codes.
ELSEWHERE = (
    *("dev", "serve", "worker", "doctor", "migrate", "conformance", "health", "--install-completion"),
    *("keys", "reencrypt", "token"),
)


@pytest.mark.parametrize("example", sorted({one for one in EXAMPLES if one.split()[1] not in ELSEWHERE}))
async def test_an_example_is_understood(example: str, tocsin: Tocsin, monkeypatch: pytest.MonkeyPatch) -> None:
    # What goes on for long looks for its server for as long as a call may last, which is 10 s.
    monkeypatch.setattr(connecting, "Client", partial(Client, deadline=2))
    nobody = f"127.0.0.1:{free_port()}"
    done = await tocsin(*shlex.split(example)[1:], "--address", nobody)
    assert done.code == 1, done
    assert f"no server is reached at {nobody}" in done.err


def test_each_command_has_its_row() -> None:
    rows = re.findall(r"^\| (`.*?) \| ", PAGE, re.MULTILINE)
    told = {name for row in rows for name in re.findall(r"`([a-z]+(?: [a-z]+)?)", row)}
    for group, app in (("jobs", jobs.app), ("queues", queues.app)):
        for command in app.registered_commands:
            name = (command.name or command.callback.__name__).rstrip("_")  # type: ignore[union-attr]
            assert f"{group} {name}" in told
