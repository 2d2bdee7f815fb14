"""Jobs in every state, and exports as they can be compared."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

from support.eventually import until
from support.servers import Server
from support.stubs import State, Stubs
from tocsin.v1 import job_pb2, job_service_pb2, queue_pb2, queue_service_pb2

HANDLERS = "support.jobs.everyday"
QUEUE = "orders"
#: One attempt, so that what fails has failed for good.
ONCE = job_pb2.RetryPolicy(max_attempts=1)
_LATER = job_pb2.RetryPolicy(max_attempts=5, backoff=job_pb2.RetryPolicy.FIXED, jitter=0)


def lived_in(server: Server) -> None:
    """Let a server with everyday handlers have jobs in every state. One of them, "runs", is still running."""
    _LATER.initial_delay.FromSeconds(3_600)
    _LATER.max_delay.FromSeconds(3_600)
    with Stubs(server.address) as stubs:
        stubs.schedule(QUEUE, "echo", {"b": 1, "a": [1, {"x": None}]}, job_id="done", tags={"tenant": "7"})
        stubs.schedule(QUEUE, "fails", {"n": 1}, job_id="failed", retry=ONCE)
        stubs.schedule(QUEUE, "fails", job_id="tried-once", retry=_LATER, priority=-3)
        stubs.schedule(QUEUE, "echo", job_id="cancelled", delay=3_600)
        stubs.jobs.CancelJob(
            job_service_pb2.CancelJobRequest(queue=QUEUE, job_id="cancelled", reason="no \u26a1 needed")
        )
        stubs.schedule(QUEUE, "echo", {"é": "ü"}, job_id="ahead \U0001f514", delay=7_200, priority=5)
        stubs.schedule(QUEUE, "nobody_runs_it", job_id="waiting")
        stubs.schedule(QUEUE, "reports_progress", job_id="runs")
        made_here = stubs.schedule(QUEUE, "echo", delay=3_600)
        assert made_here.job_id
        stubs.schedule("", "nobody_runs_it", job_id="in-default", raw={"content_type": "text/plain", "body": b"\0\xff"})
        for job_id, state in (
            ("done", State.COMPLETED),
            ("failed", State.FAILED),
            ("tried-once", State.SCHEDULED),
            ("runs", State.ACTIVE),
        ):
            until(lambda job_id=job_id, state=state: stubs.get(QUEUE, job_id).state == state, within=20)
        until(lambda: stubs.get(QUEUE, "tried-once").failures == 1, within=20)
        until(lambda: stubs.get(QUEUE, "runs").progress.message == "half way", within=20)
        settings = queue_service_pb2.UpdateQueueRequest(
            queue=queue_pb2.Queue(
                queue=QUEUE,
                completed_max=77,
                defaults=queue_pb2.JobDefaults(concurrency=3, retry=job_pb2.RetryPolicy(max_attempts=9)),
                type_defaults={"echo": queue_pb2.JobDefaults(retry=job_pb2.RetryPolicy(jitter=0.125))},
            )
        )
        stubs.queues.UpdateQueue(settings)
        stubs.queues.PauseQueue(queue_service_pb2.PauseQueueRequest(queue="stopped", reason="a fire \U0001f525"))
        stubs.schedule("stopped", "echo", job_id="held")


def lines(path: Path) -> list[dict[str, Any]]:
    """The lines of an export."""
    raw = path.read_bytes()
    text = gzip.decompress(raw) if path.name.endswith(".gz") else raw
    return [json.loads(line) for line in text.splitlines()]


def records(path: Path) -> dict[tuple[str, ...], dict[str, Any]]:
    """The records of an export, by what they are of."""
    found = {}
    for line in lines(path)[1:-1]:
        if "job" in line:
            key = ("job", line["job"]["job"]["queue"], line["job"]["job"]["job_id"])
        elif "queue" in line:
            key = ("queue", line["queue"]["queue"]["queue"])
        else:
            key = ("note", line["note"]["queue"], line["note"]["key"])
        assert key not in found, f"{key} stands there twice"
        found[key] = line
    return found


def as_imported(record: dict[str, Any]) -> dict[str, Any]:
    """A record as an import leaves it: what must differ from what was exported, and nothing else, is changed."""
    changed: dict[str, Any] = json.loads(json.dumps(record))
    if "queue" in changed:
        changed["queue"]["queue"].pop("pause_time", None)
    if "job" in changed and changed["job"]["job"]["state"] == "ACTIVE":
        changed["job"]["job"]["state"] = "WAITING"
    return changed
