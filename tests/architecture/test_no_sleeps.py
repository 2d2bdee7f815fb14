"""Tests wait for events; a sleep makes them slow on a fast machine and wrong on a slow one."""

from __future__ import annotations

import ast
from pathlib import Path

from support.source_tree import ROOT

TESTS = ROOT / "tests"

#: Where a sleep is what is meant, and why.
ALLOWED = {
    "support/eventually.py": "the one place that polls, for what sends no event",
    "support/jobs/": "handlers that take their time are what these tests need",
    "unit/client/worker/runners/process_jobs.py": "handlers too",
    "unit/client/canned_server.py": "no event tells the server that its headers have arrived",
    "unit/client/worker/test_draining.py": "a source that answers slowly",
    "bench/": "a load generator keeps time",
    "support/mail_probe.py": "a mail server that takes its time",
    "support/wrong_worker.py": "a worker: its jobs take their time, and its heartbeats are sent by the clock",
}


def sleeps(path: Path) -> list[int]:
    """Lines with a call of `sleep`; `sleep(0)`, which only gives way, is none."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            gives_way = len(node.args) == 1 and isinstance(node.args[0], ast.Constant) and node.args[0].value == 0
            if name == "sleep" and not gives_way:
                found.append(node.lineno)
    return found


def test_no_test_sleeps() -> None:
    found = {
        f"{name}:{line}"
        for path in TESTS.rglob("*.py")
        if not (name := path.relative_to(TESTS).as_posix()).startswith(tuple(ALLOWED))
        for line in sleeps(path)
    }
    assert found == set()


def test_a_sleep_would_be_seen(tmp_path: Path) -> None:
    planted = tmp_path / "planted.py"
    planted.write_text("import time\nasync def f():\n    time.sleep(1)\n    await asyncio.sleep(0)\n    sleep(2)\n")
    assert sleeps(planted) == [3, 5]
