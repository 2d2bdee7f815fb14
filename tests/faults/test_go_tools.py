"""Where Go is absent, interop tests are reported as not run, and loudly."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from support.source_tree import ROOT

_TEST = "def test_needs_a_tool(go_tool):\n    go_tool('grpcurl')\n"


@pytest.mark.parametrize("workers", [[], ["-n", "2"]], ids=["alone", "on two processors"])
def test_without_go_the_closing_lines_say_what_was_not_run(tmp_path: Path, workers: list[str]) -> None:
    folder = tmp_path / "interop"
    folder.mkdir()
    (folder / "test_planted.py").write_text(_TEST)
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
    assert "NOT RUN: interop" in done.stdout, done.stdout + done.stderr
    assert "Go is not on PATH" in done.stdout
    assert "1 skipped" in done.stdout
