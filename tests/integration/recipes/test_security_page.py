"""The set-up that docs/security.md shows, run as it stands there."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from support.ports import free_port
from support.source_tree import ROOT

PAGE = ROOT / "docs/security.md"


@pytest.mark.timeout(180)
def test_from_nothing_to_mutual_tls_in_twenty_lines(tmp_path: Path) -> None:
    [script] = re.findall(r"^```sh\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert len(script.splitlines()) <= 25
    port = free_port()
    env = {name: value for name, value in os.environ.items() if not name.startswith(("TOCSIN_", "REDIS_", "MONGODB_"))}
    env |= {"TOCSIN_LISTEN": f"127.0.0.1:{port}", "TOCSIN_ADDRESS": f"localhost:{port}", "COLUMNS": "200"}
    env["PATH"] = f"{Path(sys.executable).parent}:{env['PATH']}"
    with (tmp_path / "said").open("w") as said:
        running = subprocess.Popen(
            ["sh", "-e", "-c", script], env=env, cwd=tmp_path, stdout=said, stderr=said, start_new_session=True
        )
        try:
            code = running.wait(120)
        finally:
            os.killpg(running.pid, signal.SIGTERM)
    told = (tmp_path / "said").read_text()
    assert code == 0, told
    assert "status: SERVING" in told
    assert re.search(r"greet +.*(SCHEDULED|scheduled)|(SCHEDULED|scheduled).* greet", told), told
    assert "worker may not call /tocsin.v1.JobService/ListJobs" in told
    assert "the worker may not look" in told
