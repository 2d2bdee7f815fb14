"""docs/bulk.md: its lines and its Python, as they stand there."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from support.servers import Server
from support.source_tree import ROOT
from tocsin import Client, RetryPolicy

from integration.housekeeping.conftest import Start

PAGE = (ROOT / "docs/bulk.md").read_text()
COMMANDS, CALLS, SCHEDULE = (block.splitlines() for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL))
[PYTHON] = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
HOUR = timedelta(hours=1)


def test_the_pages_commands_and_program_work(start: Start, go_tool: Callable[[str], str], tmp_path: Path) -> None:
    server: Server = start()
    path = os.pathsep.join([str(Path(go_tool("grpcurl")).parent), str(Path(sys.executable).parent), "/usr/bin", "/bin"])

    def run(line: str, **more: str) -> str:
        done = subprocess.run(
            ["sh", "-c", line.replace("localhost:50051", server.address)],
            env={"PATH": path, "TOCSIN_ADDRESS": server.address, "HOME": str(tmp_path), **more},
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, f"$ {line}\n{done.stdout}{done.stderr}"
        return done.stdout

    with Client(server.address) as tocsin:
        payload = {"no": "handler"}
        for number, (type_, tags) in enumerate(
            [
                ("charge_card", {}),
                ("send_newsletter", {"campaign": "spring"}),
                ("send_newsletter", {}),
                ("export_orders", {}),
            ]
        ):
            tocsin.schedule(type_, payload, job_id=f"j{number}", delay=HOUR, tags={**tags, "customer": "7"})
        due = tocsin.get("j2").schedule_time
        dry, retry, cancel, retime, prioritize, move, delete = map(run, COMMANDS)
        assert (dry, retry) == ("would retry 0 jobs\n", "would retry 0 jobs\n")
        assert cancel.endswith("cancelled 1 job\n")
        assert retime.endswith("retimed 1 job\n")
        assert prioritize.endswith("prioritized 3 jobs\n")
        assert move.endswith("moved 1 job\n")
        assert delete == "would delete 0 jobs\n"
        assert tocsin.get("j1").cancel.reason == "wrong text"  # type: ignore[union-attr]
        assert tocsin.get("j2").schedule_time == due + HOUR / 2

        program = subprocess.run(
            [sys.executable, "-c", PYTHON.replace("localhost:50051", server.address)],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        first, *steps, end, moved = program.stdout.splitlines()
        assert first == "1 [(<State.SCHEDULED: 'SCHEDULED'>, 'send_newsletter', 1)]"
        assert (steps[-1], end, moved) == ("1 of 1", "COMPLETED 0 0 ", "2")
        assert tocsin.get("j2", queue="later").schedule_time == due + HOUR

        # Of a type that nobody runs no job can fail; what a cancel leaves can be retried as well.
        tocsin.schedule("charge_card", payload, job_id="j4", delay=HOUR, retry=RetryPolicy(max_attempts=1))
        tocsin.cancel("j4")
        asked, acted = (line.replace('["charge_card"]', '["charge_card"],"states":["CANCELLED"]') for line in CALLS)
        counted = json.loads(run(asked))
        assert (counted["matched"], counted["finished"]) == ("1", True)
        answers = run(acted, TOKEN=counted["token"])
        assert '"finished": true' in answers
        assert tocsin.get("j4").state == "WAITING"

        for line in SCHEDULE:
            run(line)
        assert tocsin.schedules.get("retry-mail").message.job.bulk_action.filter.types == ["digest"]
