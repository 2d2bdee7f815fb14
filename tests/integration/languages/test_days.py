"""Three days of an application on a clock that is moved by hand, from three languages: the same order in ten runs, and
under a second where the machine has nothing else to do."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from support import example_workers, remote_workers
from support.eventually import until
from support.servers import TESTS, Server
from tocsin import Client

RUNS = 10
QUEUE = "days"
pytestmark = pytest.mark.timeout(example_workers.BUILD_SECONDS + 120)

#: Hours since the first midnight, type, attempt, state after it. The lost lease of the orphan comes first, and what it
#: has become nobody takes.
ORDER = [
    (0, "orphan", 1, "WAITING"),
    (3, "conformance.echo", 1, "COMPLETED"),
    (10, "conformance.fail", 1, "SCHEDULED"),
    (11, "conformance.fail", 2, "SCHEDULED"),
    (13, "conformance.fail", 3, "COMPLETED"),
    (27, "conformance.echo", 1, "COMPLETED"),
    (48, "booking_reminder", 1, "COMPLETED"),
    (51, "conformance.echo", 1, "COMPLETED"),
    (71, "booking_reminder", 1, "COMPLETED"),
    (71.75, "booking_reminder", 1, "COMPLETED"),
]
_LINE = re.compile(r"(\d\d) (\d\d):(\d\d) (\S+) (\d) ([A-Z]+) ?(.*)")


@pytest.fixture
def by_hand(tmp_path: Path) -> Server:
    """A server with a store of its own, whose clock is moved by hand."""
    mail = ("--mail", f"file:{tmp_path / 'outbox'}", "--mail-from", "a@example.com")
    return Server(tmp_path, ["--clock", "manual", "--data", str(tmp_path / "data"), *mail])


def _command(language: str) -> list[str]:
    if language == "python":
        return [sys.executable, "-m", "support.three_days"]
    return example_workers.command(language, "days")


def order(lines: list[str]) -> list[tuple[float, str, int, str]]:
    """What a run printed, without its dates."""
    found = [_LINE.fullmatch(line) for line in lines]
    days = list(dict.fromkeys(one[1] for one in found if one is not None))
    return [
        (24 * days.index(one[1]) + int(one[2]) + int(one[3]) / 60, one[4], int(one[5]), one[6])
        for one in found
        if one is not None
    ]


@pytest.mark.parametrize("language", ["python", "go", "node"])
def test_three_days_have_the_same_order_in_each_run(
    language: str, by_hand: Server, tmp_path: Path, not_run: Callable[[str, str], None]
) -> None:
    try:
        command = _command(language)
    except example_workers.NotBuilt as trouble:
        not_run("languages", str(trouble))
    env = {**os.environ, "PYTHONPATH": str(TESTS), "TOCSIN_SERVER": by_hand.address, "TOCSIN_QUEUE": QUEUE}
    worker = None
    try:
        by_hand.start()
        (tmp_path / "worker").mkdir()
        worker = remote_workers.worker(language, tmp_path / "worker", [by_hand.address], QUEUE, slots=10, lease=30)
        with Client(by_hand.address) as client:  # of whom nobody has heard, nobody is waited for
            until(
                lambda: any(not one.embedded for one in client.workers(queue=QUEUE)),
                within=60,
                what="a worker of the queue",
            )
        took = []
        for _ in range(RUNS):
            done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=100, check=False)
            assert done.returncode == 0, done.stdout + done.stderr
            *lines, last = done.stdout.splitlines()
            assert order(lines) == ORDER, done.stdout
            assert "LEASE_EXPIRED" in lines[0]
            assert "Busy" in lines[2]
            took.append(int(last.removesuffix(" ms")))
        # The best of ten: whatever waits for a span of real time would show in each of them.
        assert min(took) < 1_000, took
    finally:
        if worker is not None:
            worker.kill()
        by_hand.kill()
    assert len(list((tmp_path / "outbox").glob("*.eml"))) == 3 * RUNS
