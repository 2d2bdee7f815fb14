"""What a queue that was moved says of itself where it came from: nothing that makes its jobs run twice."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pytest
from contract.builders import a_draft, added, claimed_one
from support.servers import Server
from tocsin import Client, FailedPrecondition

from integration.migration.conftest import Migrate, OpenPlace

StartServer = Callable[..., Server]


def tocsin_cli(server: Server, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tocsin.cli.main", *words, "--address", server.address]
    return subprocess.run(command, capture_output=True, text=True, timeout=30)


async def test_its_copies_are_no_jobs_that_wait_and_it_is_resumed_only_by_who_takes_it_back(
    ways: tuple[str, str], open_place: OpenPlace, migrate: Migrate, serve: StartServer
) -> None:
    await added((await open_place(ways[0])).store, *(a_draft(type="noop") for _ in range(3)))
    assert migrate("--from", ways[0], "--to", ways[1], "--verify").code == 0
    old = serve(ways[0], handlers="support.jobs.everyday")

    health = tocsin_cli(old, "queues", "health", "q")
    assert health.returncode == 0, health.stdout
    assert "moved to " in health.stdout
    assert "resume" not in health.stdout
    refused = tocsin_cli(old, "queues", "resume", "q")
    assert refused.returncode != 0
    assert "its jobs run there" in refused.stderr
    with Client(old.address) as tocsin:
        seen = tocsin.queue_health("q")
        assert (seen.healthy, seen.error, seen.oldest_waiting_age) == (True, "", None)
        with pytest.raises(FailedPrecondition, match="take_back") as refusal:
            tocsin.resume("q")
        assert refusal.value.reason == "QUEUE_MOVED"
        assert tocsin.queue("q").paused
        assert [job.state for job in tocsin.list(queue="q")] == ["WAITING"] * 3
    taken = tocsin_cli(old, "queues", "resume", "q", "--take-back")
    assert (taken.returncode, taken.stdout.splitlines()[0]) == (0, "resumed q")


async def test_while_it_is_moved_neither_side_is_resumed_by_mistake(
    ways: tuple[str, str], open_place: OpenPlace, migrate: Migrate, serve: StartServer
) -> None:
    source = (await open_place(ways[0])).store
    await added(source, a_draft("runs"), a_draft("waits"))
    await claimed_one(source)
    assert migrate("--from", ways[0], "--to", ways[1], "--wait", "0s").code == 1
    for url in ways:
        server = serve(url, "--no-dispatch")
        with Client(server.address) as tocsin:
            assert "run `tocsin migrate` again" in tocsin.queue_health("q").error
            with pytest.raises(FailedPrecondition, match="tocsin migrate"):
                tocsin.resume("q")
            assert not tocsin.resume("q", take_back=True).paused
