"""The audit log of a real server: a line for each change and each who was turned away, and none that is forged."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from support.eventually import until
from support.redis_backend import RedisBackend
from support.servers import Server
from support.stores import store_settings
from support.stubs import Stubs, refusal, request
from tocsin.v1 import bulk_service_pb2_grpc, queue_pb2, queue_service_pb2
from tocsin.v1 import job_service_pb2 as pb
from tocsin.v1.bulk_service_pb2 import BulkActRequest
from tocsin_server.security.principals import hash_of

CANARY = "c4nary-payload"
HOSTILE = "a\nb\x1b[2J\u2028c\u0085d\u202e\0"
PRINCIPALS = f"""
[[principal]]
name = "shop"
scopes = ["read", "read_payload", "schedule", "operate", "admin"]
[[principal.token]]
id = "3fa91c"
sha256 = "{hash_of("t-shop")}"

[[principal]]
name = "reader"
scopes = ["read"]
[[principal.token]]
id = "3fa91d"
sha256 = "{hash_of("t-reader")}"

[[principal]]
name = "mailer"
scopes = ["read", "schedule", "operate"]
queues = ["mail"]
[[principal.token]]
id = "3fa91e"
sha256 = "{hash_of("t-mailer")}"
"""
SHOP, READER = (("authorization", "Bearer t-shop"),), (("authorization", "Bearer t-reader"),)
MAILER = (("authorization", "Bearer t-mailer"),)


@pytest.fixture
def audit(tmp_path: Path) -> Path:
    return tmp_path / "audit.log"


def lines(path: Path) -> list[dict[str, Any]]:
    """Each line must be JSON by itself, in ASCII."""
    text = path.read_text("ascii")
    assert all(character.isprintable() or character == "\n" for character in text)
    return [json.loads(line) for line in text.splitlines()]


@pytest.fixture
def audited(redis: RedisBackend, serve: Callable[..., Server], audit: Path, tmp_path: Path) -> Iterator[Stubs]:
    principals = tmp_path / "principals.toml"
    principals.write_text(PRINCIPALS)
    principals.chmod(0o600)
    env = {"TOCSIN_AUTH__PRINCIPALS_FILE": str(principals), "TOCSIN_AUDIT__TO": f"file:{audit}"}
    server = serve(redis.url, "--no-dispatch", **env)
    with Stubs(server.address) as stubs:
        yield stubs


def name_of(line: dict[str, Any]) -> str:
    """The method's name alone."""
    return str(line["method"].rpartition("/")[2])


def code_of(call: Any, *arguments: Any, **more: Any) -> str:
    try:
        call(*arguments, **more)
    except grpc.RpcError as error:
        return str(error.code().name)
    return "OK"


def test_each_change_is_a_line_with_who_what_and_how_it_ended_and_no_payload(audited: Stubs, audit: Path) -> None:
    jobs = audited.jobs
    asked = request("q", "t", {"x": CANARY}, job_id="a", delay=60, tags={"key": CANARY})
    with_id = (*SHOP, ("x-request-id", "r-1"))
    ended = [
        code_of(jobs.ScheduleJob, asked, metadata=with_id),
        code_of(jobs.ScheduleJob, asked, metadata=SHOP),
        code_of(jobs.GetJob, pb.GetJobRequest(queue="q", job_id="a"), metadata=SHOP),
        code_of(jobs.CancelJob, pb.CancelJobRequest(queue="q", job_id="a", reason=CANARY), metadata=SHOP),
        code_of(jobs.CancelJob, pb.CancelJobRequest(queue="q", job_id="a"), metadata=READER),
        code_of(jobs.CancelJob, pb.CancelJobRequest(queue="q", job_id="a")),
        code_of(jobs.GetJob, pb.GetJobRequest(queue="q", job_id="a")),
        code_of(jobs.BatchCancelJobs, pb.BatchCancelJobsRequest(queue="q", job_ids=["a", "b", "c"]), metadata=SHOP),
        code_of(
            audited.queues.UpdateQueue,
            queue_service_pb2.UpdateQueueRequest(queue=queue_pb2.Queue(queue="q", completed_max=5)),
            metadata=SHOP,
        ),
    ]
    told = lines(audit)
    seen = [
        (line["principal"], line["method"].rpartition("/")[2], line["outcome"], line.get("reason")) for line in told
    ]
    assert seen == [
        ("shop", "ScheduleJob", "OK", None),
        ("shop", "ScheduleJob", "ALREADY_EXISTS", "JOB_EXISTS"),
        ("shop", "CancelJob", "OK", None),
        ("reader", "CancelJob", "PERMISSION_DENIED", "PERMISSION_DENIED"),
        ("", "CancelJob", "UNAUTHENTICATED", "UNAUTHENTICATED"),
        ("", "GetJob", "UNAUTHENTICATED", "UNAUTHENTICATED"),
        ("shop", "BatchCancelJobs", "OK", None),
        ("shop", "UpdateQueue", "OK", None),
    ]
    assert [line["outcome"] for line in told] == [code for number, code in enumerate(ended) if number != 2]
    assert (told[0]["queue"], told[0]["job_id"], told[0]["type"], told[0]["request_id"]) == ("q", "a", "t", "r-1")
    assert (told[6]["job_ids"], told[6]["job_ids_count"]) == (["a", "b", "c"], 3)
    assert told[7]["queue"] == "q"
    assert all(line["peer"].startswith("ipv4:127.0.0.1:") and line["time"].endswith("+00:00") for line in told)
    text = audit.read_text()
    assert CANARY not in text
    assert "t-shop" not in text
    assert audit.stat().st_mode & 0o777 == 0o600


def test_a_refusal_names_what_was_to_be_done_to_what_and_what_it_would_have_taken(audited: Stubs, audit: Path) -> None:
    jobs = audited.jobs
    bulk = bulk_service_pb2_grpc.BulkServiceStub(audited.channel)

    def bulk_act(*asked: Any, **more: Any) -> None:
        list(bulk.BulkAct(*asked, **more))  # its answers are a stream

    act = BulkActRequest(queue="q")
    act.filter.all = True
    act.cancel.reason = CANARY
    cancel = pb.CancelJobRequest(queue="q", job_id="a", reason=CANARY)
    calls: list[tuple[Any, Any, Any, dict[str, str]]] = [
        (jobs.CancelJob, cancel, READER, {"queue": "q", "job_id": "a", "scope": "operate"}),
        (jobs.CancelJob, cancel, MAILER, {"queue": "q", "job_id": "a", "refused_queue": "q"}),
        (bulk_act, act, READER, {"queue": "q", "action": "cancel", "scope": "operate"}),
        (bulk_act, act, MAILER, {"queue": "q", "action": "cancel", "refused_queue": "q"}),
        (
            jobs.ScheduleJob,
            request("q", "t", {"x": CANARY}, tags={"key": CANARY}),
            READER,
            {"queue": "q", "type": "t", "scope": "schedule"},
        ),
        (jobs.ListJobs, pb.ListJobsRequest(queue="q"), MAILER, {"queue": "q", "refused_queue": "q"}),
    ]
    for call, asked, who, named in calls:
        assert (code_of(call, asked, metadata=who), named) == ("PERMISSION_DENIED", named)
    told = lines(audit)
    assert [{name: line.get(name) for name in named} for line, (*_, named) in zip(told, calls, strict=True)] == [
        named for *_, named in calls
    ]
    assert CANARY not in audit.read_text()


def test_a_refused_call_that_brings_no_request_is_a_line_too(audited: Stubs, audit: Path) -> None:
    """A caller who says nothing, or what cannot be read, keeps nobody waiting."""
    stub = audited.channel.unary_unary("/tocsin.v1.JobService/CancelJob")
    silent = audited.channel.stream_unary("/tocsin.v1.JobService/CancelJob")
    assert code_of(stub, b"\xff" * 10, metadata=READER) == "PERMISSION_DENIED"
    assert code_of(stub, b"\x0a\x01q" + b"\x1a\x04none" * 20_000, metadata=READER) == "PERMISSION_DENIED"
    never = threading.Event()
    assert code_of(silent, (b"" for _ in iter(never.wait, True)), metadata=READER, timeout=20) == "PERMISSION_DENIED"
    never.set()
    assert [line.get("queue") for line in lines(audit)] == [None, None, None]


def test_an_id_that_the_server_made_is_told(audited: Stubs, audit: Path) -> None:
    job = audited.jobs.ScheduleJob(request("q", "t", delay=60), metadata=SHOP).job
    assert [line["job_id"] for line in lines(audit)] == [job.job_id]


@pytest.mark.parametrize("field", ["queue", "type", "job_id"])
def test_no_text_of_a_caller_breaks_a_line(audited: Stubs, audit: Path, field: str) -> None:
    asked = request("q", "t", job_id="a", delay=60)
    setattr(asked if field == "job_id" else asked.job, field, HOSTILE + "x" * 10_000)
    assert code_of(audited.jobs.ScheduleJob, asked, metadata=SHOP) == "INVALID_ARGUMENT"
    [line] = lines(audit)
    assert line[field].startswith(HOSTILE)
    assert len(line[field]) <= 201
    assert audit.read_text().count("\n") == 1


def test_a_file_that_is_moved_away_is_opened_anew(
    redis: RedisBackend, serve: Callable[..., Server], audit: Path
) -> None:
    server = serve(redis.url, "--no-dispatch", TOCSIN_AUDIT__TO=f"file:{audit}", TOCSIN_AUDIT__INCLUDE_READS="yes")
    old = audit.with_suffix(".1")
    with Stubs(server.address) as stubs:
        stubs.schedule("q", "t", job_id="a", delay=60)
        audit.rename(old)
        os.kill(server.pid, signal.SIGHUP)
        until(audit.exists, within=5)
        stubs.get("q", "a")
        assert [name_of(line) for line in lines(audit)] == ["GetJob"]
        assert [name_of(line) for line in lines(old)] == ["ScheduleJob"]
        audit.rename(old)

        def followed() -> bool:
            stubs.get("q", "a")
            return audit.exists()

        until(followed, within=5)  # without a signal
    assert server.stop() == 0


def test_where_no_line_can_be_written_nothing_is_done(redis: RedisBackend, tmp_path: Path, audit: Path) -> None:
    """No file of this server may have more than 20 KiB: as on a full disk, a write fails."""
    env = {**store_settings(redis.url), "TOCSIN_AUDIT__TO": f"file:{audit}", "TOCSIN_AUDIT__REQUIRED": "yes"}
    env["PYTHONDONTWRITEBYTECODE"] = "1"  # what it compiled would be cut off, and break every program after it
    few = ("sh", "-c", 'ulimit -f 40 && exec "$0" "$@"', sys.executable, "-m", "tocsin.cli.main")
    server = Server(tmp_path, ["--no-dispatch"], env, program=few)
    try:
        server.start()
        with Stubs(server.address) as stubs:
            done, refused = 0, None
            for number in range(500):
                try:
                    stubs.schedule("q", "t", job_id=f"job-{number}", delay=60)
                except grpc.RpcError as error:
                    refused = refusal(error)
                    break
                done += 1
            assert refused is not None
            assert (refused.code, refused.reason) == (grpc.StatusCode.UNAVAILABLE, "AUDIT_AWAY")
            assert len(stubs.list("q")) == done  # what was refused was not done; and reads go on
            whole = audit.read_text().rpartition("\n")[0].splitlines()
            assert len(whole) >= done - 1  # but for the one that met the end
            audit.rename(tmp_path / "full.log")
            assert until(lambda: code_of(stubs.jobs.ScheduleJob, request("q", "t", delay=60)) == "OK", within=10)
        assert len(lines(audit)) >= 1
    finally:
        server.kill()


@pytest.mark.parametrize("to", ["file:/no/such/folder/audit.log", "file:/proc/self/nothing", "paper"])
def test_one_that_cannot_be_written_is_told_at_the_start(tmp_path: Path, to: str) -> None:
    command = [sys.executable, "-m", "tocsin.cli.main", "serve", "--listen", "127.0.0.1:0"]
    env = os.environ | {"TOCSIN_AUDIT__TO": to, "TOCSIN_DATA": str(tmp_path / "data")}
    done = subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert "audit" in done.stderr.casefold()
    assert done.stderr.count("\n") == 1


def test_on_standard_output_it_is_apart_from_the_servers_own_log(redis: RedisBackend, tmp_path: Path) -> None:
    server = Server(tmp_path, ["--no-dispatch"], {**store_settings(redis.url), "TOCSIN_AUDIT__TO": "stdout"})
    try:
        server.start()
        with Stubs(server.address) as stubs:
            stubs.schedule("q", "t", job_id="a", delay=60)
    finally:
        server.stop()
    told = [line for line in server.log.read_text().splitlines() if line.startswith('{"time":')]
    assert [json.loads(line)["job_id"] for line in told] == ["a"]
