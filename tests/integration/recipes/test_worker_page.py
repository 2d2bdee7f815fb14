"""The programs of docs/workers.md work as they stand there."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from support.redis_backend import RedisBackend
from support.servers import Server
from support.source_tree import ROOT
from tocsin import Client

PAGE = (ROOT / "docs/workers.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
[WORKER] = [text for language, text in BLOCKS if language == "python"]
[SCRIPT] = [text for language, text in BLOCKS if text.startswith("#!/bin/sh")]
[EXEC] = [text for language, text in BLOCKS if text.startswith("tocsin worker exec")]


@pytest.mark.parametrize("way", ["program", "module", "exec"])
def test_a_worker_of_the_page_runs_a_job_and_stops(
    way: str, redis: RedisBackend, serve: Callable[..., Server], tmp_path: Path
) -> None:
    address = serve(redis.url, "--no-dispatch").address
    (tmp_path / "myapp").mkdir()
    (tmp_path / "myapp/jobs.py").write_text(WORKER.replace("localhost:50051", address))
    program = tmp_path / "transcode.sh"
    program.write_text(SCRIPT)
    program.chmod(0o755)
    command = {
        "program": [sys.executable, "myapp/jobs.py"],
        "module": [sys.executable, "-m", "tocsin.cli.main", "worker", "myapp.jobs"],
        "exec": [sys.executable, "-m", "tocsin.cli.main", *shlex.split(EXEC)[1:]],
    }[way]
    type_ = "transcode" if way == "exec" else "resize_image"
    worker = subprocess.Popen(command, cwd=tmp_path, env=os.environ | {"TOCSIN_ADDRESS": address})
    try:
        with Client(address) as client:
            done = client.wait(client.schedule(type_, {"path": "a.png"}), timeout=30)
            assert (done.state, done.result) == ("COMPLETED", {"bytes": 5})
            [line] = client.logs(done)
            assert line.text == (f"attempt 1 of {done.job_id}" if way == "exec" else "read a.png")
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(timeout=30) == 0
    finally:
        worker.kill()
        worker.wait()
