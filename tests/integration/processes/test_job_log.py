"""What becomes of jobs stands in the log: each failed attempt, each FAILED job, and at debug all the rest."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.eventually import until
from support.redis_backend import RedisBackend
from support.servers import TESTS, Server
from support.stubs import State, Stubs
from tocsin.v1 import job_pb2, job_service_pb2, job_service_pb2_grpc

Lines = list[dict[str, Any]]


def lines(server: Server, event: str = "") -> Lines:
    """The log so far, line by line; only those of an event, where one is named."""
    text = server.log.read_text().splitlines() if server.log.exists() else []
    found = [json.loads(line) for line in text if line.startswith("{")]
    return [line for line in found if not event or line["event"] == event]


def awaited(server: Server, event: str, number: int = 1) -> Lines:
    until(lambda: len(lines(server, event)) >= number, within=20, what=f"{number} lines {event}")
    return lines(server, event)


@pytest.fixture
def served(redis: RedisBackend, serve: Callable[..., Server]) -> Callable[..., Server]:
    def serving(**env: str) -> Server:
        return serve(redis.url, handlers="support.jobs.everyday", **env)

    return serving


def schedule(server: Server, type_: str, job_id: str, max_attempts: int = 1, **data: Any) -> None:
    spec = job_pb2.JobSpec(queue="logged", type=type_, data=data or None)
    spec.retry.max_attempts = max_attempts
    spec.retry.initial_delay.FromMilliseconds(20)
    with Stubs(server.address) as stubs:
        jobs = job_service_pb2_grpc.JobServiceStub(stubs.channel)
        jobs.ScheduleJob(job_service_pb2.ScheduleJobRequest(job=spec, job_id=job_id), timeout=10)


def test_each_failed_attempt_and_each_failed_job_has_a_line_that_says_what_comes_next(
    served: Callable[..., Server],
) -> None:
    server = served()
    schedule(server, "fails", "bad", max_attempts=2, card="4111-SECRET")
    [dead] = awaited(server, "job_failed")
    first, second = lines(server, "attempt_failed")
    assert {k: first[k] for k in ("level", "queue", "job_id", "type", "attempt", "error")} == {
        "level": "warning",
        "queue": "logged",
        "job_id": "bad",
        "type": "fails",
        "attempt": 1,
        "error": "RuntimeError",
    }
    assert "runs again in 0.0" in first["next"]
    assert "failure 1 of 2" in first["next"]
    assert second["attempt"] == 2
    assert second["next"] == "it ends FAILED: its 2 attempts are spent"
    assert (dead["level"], dead["job_id"], dead["type"], dead["error"]) == ("error", "bad", "fails", "RuntimeError")


def test_a_failure_that_is_not_to_be_repeated_says_so(served: Callable[..., Server]) -> None:
    server = served()
    schedule(server, "fails_for_good", "bad", max_attempts=5)
    awaited(server, "job_failed")
    [line] = lines(server, "attempt_failed")
    assert line["next"] == "it ends FAILED: it is not to be repeated"


def test_no_payload_and_no_words_of_an_error_stand_in_the_log_unless_asked_for(served: Callable[..., Server]) -> None:
    silent = served(TOCSIN_LOG__LEVEL="debug")
    schedule(silent, "fails_at_first", "bad", failures=1, card="4111-SECRET")
    awaited(silent, "job_failed")
    said = silent.log.read_text()
    assert "4111-SECRET" not in said
    assert "attempt 1 fails" not in said
    assert "Traceback" not in said

    assert silent.stop() == 0

    talkative = served(TOCSIN_LOG__TEXTS="true")
    schedule(talkative, "fails_at_first", "worse", failures=1, card="4111-SECRET")
    [line] = [line for line in awaited(talkative, "attempt_failed") if line["job_id"] == "worse"]
    assert line["error_message"] == "attempt 1 fails"
    assert "ValueError: attempt 1 fails" in line["error_trace"]
    assert "4111-SECRET" not in talkative.log.read_text()


def test_at_the_usual_level_a_job_that_ends_well_has_no_line(served: Callable[..., Server]) -> None:
    server = served()
    schedule(server, "echo", "good")
    schedule(server, "fails", "bad")  # what is logged later is there, so what was to be logged before it is, too
    awaited(server, "job_failed")
    assert not [line for line in lines(server) if line.get("job_id") == "good"]


def test_at_debug_each_step_of_a_job_has_a_line_with_its_names(served: Callable[..., Server]) -> None:
    server = served(TOCSIN_LOG__LEVEL="debug")
    schedule(server, "echo", "good")
    with Stubs(server.address) as stubs:
        schedule(server, "reports_progress", "told")
        awaited(server, "attempt_progress")
        stubs.jobs.CancelJob(job_service_pb2.CancelJobRequest(queue="logged", job_id="told", reason="4111-SECRET"))
        until(lambda: stubs.get("logged", "told").state == State.CANCELLED, within=20)
    awaited(server, "attempt_failed")
    steps = [(line["event"], line["job_id"]) for line in lines(server) if line["logger"] == "tocsin.jobs"]
    assert [event for event, job_id in steps if job_id == "good"] == [
        "job_scheduled",
        "attempt_started",
        "job_completed",
    ]
    assert [event for event, job_id in steps if job_id == "told"] == [
        "job_scheduled",
        "attempt_started",
        "attempt_progress",
        "cancel_asked",
        "attempt_failed",
    ]
    assert "4111-SECRET" not in server.log.read_text()
    assert "Loaded running loop" not in server.log.read_text()


def test_what_a_handler_logs_names_its_job(redis: RedisBackend, serve: Callable[..., Server]) -> None:
    server = serve(redis.url, handlers="support.jobs.logging")
    for number, type_ in enumerate(("logs", "logs_in_a_thread"), 1):
        schedule(server, type_, f"of-{type_}")
        said = awaited(server, "in the handler", number)
        [line] = [line for line in said if line["type"] == type_]
        assert (line["queue"], line["job_id"], line["attempt"]) == ("logged", f"of-{type_}", 1)


def test_a_log_that_nobody_reads_holds_up_nothing(redis: RedisBackend, tmp_path: Path) -> None:
    """A pipe takes 64 KiB; what is logged here is more than that."""
    server = Server(tmp_path, ["--redis-url", redis.url, "--log-level", "debug"])
    environment = {"PYTHONPATH": str(TESTS), "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
    arguments = [sys.executable, "-m", "tocsin.cli.main", "serve", "--listen", server.address, *server.flags]
    with subprocess.Popen(arguments, env=environment, cwd=tmp_path, stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        try:
            server.process = process
            server.wait_health(1)
            with Stubs(server.address) as stubs:
                for _ in range(1_200):
                    stubs.health("logged")
            read: list[bytes] = []
            reader = threading.Thread(target=lambda: read.extend(process.stderr or ()), daemon=True)
            reader.start()
            process.terminate()
            assert process.wait(30) == 0
            reader.join(10)
        finally:
            process.kill()
    assert sum(map(len, read)) > 1 << 17
    assert b'"stopped"' in read[-1]
