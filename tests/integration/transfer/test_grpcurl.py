"""An export and an import by hand, with grpcurl."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from typing import Any

import pytest
from support.servers import Server
from support.stubs import Stubs

pytestmark = pytest.mark.timeout(420)  # a first build of the Go tools may be awaited


def as_in_protos(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """grpcurl writes "jobId" or "job_id", as the descriptors it was served tell it; it reads both."""
    return {re.sub("[A-Z]", lambda letter: "_" + letter[0].lower(), name): value for name, value in pairs}


def test_both_work_as_typed(quiet: Server, go_tool: Callable[[str], str]) -> None:
    def typed(data: str, method: str) -> list[Any]:
        command = [go_tool("grpcurl"), "-plaintext", "-d", data, quiet.address, f"tocsin.v1.JobService/{method}"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        decoder, found, text = json.JSONDecoder(object_pairs_hook=as_in_protos), [], done.stdout.strip()
        while text:
            value, end = decoder.raw_decode(text)
            found.append(value)
            text = text[end:].strip()
        return found

    with Stubs(quiet.address) as stubs:
        stubs.schedule("q", "resize_image", {"path": "a.png"}, job_id="a", delay=3_600)
    queue, job = (record for answer in typed('{"queues":["q"]}', "ExportJobs") for record in answer["records"])
    assert queue == {"queue": {"queue": {"queue": "q"}}}
    job["job"]["job"]["job_id"] = "b"
    records = json.dumps({"over": "REPLACE", "records": [job]})
    [done] = typed(records + json.dumps({"records": [queue, {}]}), "ImportJobs")
    assert (done["created"], done["same"], done["refused"]) == ("1", "1", "1")
    [refused] = done["refused_items"]
    assert refused["index"] == "2"
    with Stubs(quiet.address) as stubs:
        assert dict(stubs.get("q", "b").spec.data) == {"path": "a.png"}
