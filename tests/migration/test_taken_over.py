"""What real Bull and BullMQ left, taken over by `tocsin migrate`, runs in a server at its time."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from support import node_tools
from support.redis_parts import RedisPart
from support.servers import Server
from support.stores import StorePart
from tocsin import Client

from migration.conftest import Migrate

SCRIPT = Path(__file__).parents[1] / "support/node/bull_takeover.mjs"
StartServer = Callable[..., Server]


@pytest.fixture
def bulls(tmp_path: Path) -> Iterator[RedisPart]:
    """The Redis that one moves away from."""
    with RedisPart(tmp_path / "bulls") as redis:
        yield redis


@pytest.mark.parametrize("system", ["bull", "bullmq"])
def test_jobs_run_at_their_times_and_a_second_import_does_nothing(
    system: str,
    bulls: RedisPart,
    tmp_path: Path,
    npm_packages: Path,
    store: StorePart,
    migrate: Migrate,
    serve: StartServer,
) -> None:
    source = bulls.url
    (tmp_path / "node_modules").symlink_to(npm_packages)
    script = tmp_path / SCRIPT.name
    script.write_text(SCRIPT.read_text())
    done = subprocess.run([node_tools.node(), str(script), source, system], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    added = datetime.fromtimestamp(json.loads(done.stdout)["added"] / 1000, UTC)
    report = tmp_path / "report.jsonl"
    arguments = ("--from", system, "--source", source, "--to", store.url, "--report", str(report))

    dry = migrate(*arguments, "--dry-run")
    assert dry.code == 0, (dry.said, dry.errors)
    assert "nothing was done" in dry.said
    took = migrate(*arguments)
    assert took.code == 0, (took.said, took.errors)
    assert "4 jobs were brought in, 0 stood here already" in took.said
    lines = [json.loads(line) for line in report.read_text().splitlines()]
    assert sorted(line["job_id"] for line in lines) == ["gives-up", "now", "soon", "tomorrow"]

    server = serve(store.url, handlers="support.jobs.everyday")
    with Client(server.address) as tocsin:
        now = tocsin.wait("now", queue="mail", timeout=30)
        assert (now.state, now.result) == ("COMPLETED", {"to": "ada@example.com", "n": 1})
        soon = tocsin.wait("soon", queue="mail", timeout=30)
        assert soon.result == {"n": 2}
        assert soon.start_time is not None
        assert timedelta(0) <= soon.start_time - (added + timedelta(seconds=6)) < timedelta(seconds=5)
        gave_up = tocsin.wait("gives-up", queue="mail", timeout=30)
        assert (gave_up.state, gave_up.failures) == ("FAILED", 2)
        assert tocsin.get("tomorrow", queue="mail").state == "SCHEDULED"

        again = migrate(*arguments)
        assert again.code == 0
        assert "0 jobs were brought in, 4 stood here already" in again.said
        assert tocsin.get("now", queue="mail").attempt == 1
