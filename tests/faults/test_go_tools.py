"""Where Go or Node is absent, the tests that need it are reported as not run, and loudly."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from support.source_tree import ROOT

_TESTS = {
    "interop": ("def test_needs_a_tool(go_tool):\n    go_tool('grpcurl')\n", "Go is not on PATH"),
    "npm": ("def test_needs_packages(npm_packages):\n    pass\n", "node is not on PATH"),
}


@pytest.mark.parametrize("kind", _TESTS)
@pytest.mark.parametrize("workers", [[], ["-n", "2"]], ids=["alone", "on two processors"])
def test_without_tools_the_closing_lines_say_what_was_not_run(tmp_path: Path, workers: list[str], kind: str) -> None:
    test, why = _TESTS[kind]
    folder = tmp_path / "interop"
    folder.mkdir()
    (folder / "test_planted.py").write_text(test)
    (tmp_path / "conftest.py").write_text((ROOT / "tests/conftest.py").read_text())
    (tmp_path / "pytest.ini").write_text(f"[pytest]\npythonpath = {ROOT / 'tests'}\n")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:asyncio", *workers, str(folder)],
        env={"PATH": str(folder), "HOME": str(tmp_path)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert f"NOT RUN: {kind}" in done.stdout, done.stdout + done.stderr
    assert why in done.stdout
    assert done.stdout.count("NOT RUN:") == 1
    assert "1 skipped" in done.stdout
