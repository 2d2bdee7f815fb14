"""docs/testing.md: its code is run as it stands there, by pytest with the plugin."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from tocsin import Handlers, JobContext
from tocsin.testing import ServerNotStarted, job_server, run_handler

PAGE = (Path(__file__).parents[4] / "docs/testing.md").read_text()
FILES = re.findall(r"```python\n# (\S+)\n(.*?)```", PAGE, re.DOTALL)
[SETTINGS] = re.findall(r"```ini\n(.*?)```", PAGE, re.DOTALL)


def test_the_code_of_the_page_runs(tmp_path: Path) -> None:
    assert [name for name, _ in FILES] == ["myapp/jobs.py", "test_jobs.py", "test_days.py"]
    for name, code in FILES:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(code)
    (tmp_path / "myapp/__init__.py").touch()
    (tmp_path / "pytest.ini").write_text(SETTINGS)
    command = [sys.executable, "-m", "pytest", "-p", "tocsin.testing.plugin", "-p", "no:cacheprovider", "-q"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=100)
    assert "3 passed" in done.stdout, done.stdout + done.stderr


def test_a_handler_fails_as_it_would_and_an_unknown_type_is_named() -> None:
    handlers = Handlers()

    @handlers.on("fail")
    def fail(job: JobContext) -> None:
        job.log("so far")
        raise RuntimeError(f"attempt {job.attempt}")

    with pytest.raises(RuntimeError, match="attempt 2"):
        run_handler(handlers, "fail", {"a": 1}, attempt=2)
    with pytest.raises(KeyError, match="there are fail"):
        run_handler(handlers, "other")


def test_a_server_that_cannot_start_says_why() -> None:
    with pytest.raises(ServerNotStarted, match="no_such_module"), job_server("no_such_module"):
        pass
