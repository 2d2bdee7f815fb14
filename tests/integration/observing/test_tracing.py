"""Traces: a job remembers the span in which it was scheduled, and each attempt is a span that is linked to it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import pytest
from opentelemetry.sdk.trace import TracerProvider
from support import example_workers
from support.redis_backend import RedisBackend
from support.servers import TESTS, Server
from support.stores import StoreBackend
from support.trace_collector import Collector, Span, collecting
from tocsin import Client, JobRequest, Missed, RetryPolicy

StartServer = Callable[..., Server]

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
PARENT = f"00-{TRACE}-{SPAN}-01"
SECRET = "canary-5c1e"


@pytest.fixture
def collector() -> Iterator[Collector]:
    with collecting() as collector:
        yield collector


@contextmanager
def a_worker(server: Server, folder: Path, *flags: str, **env: str) -> Iterator[None]:
    """`tocsin worker` in a process of its own."""
    command = [sys.executable, "-m", "tocsin.cli.main", "worker", *flags]
    environment = {**os.environ, "PYTHONPATH": str(TESTS), "TOCSIN_ADDRESS": server.address, **env}
    with (folder / "worker.log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    try:
        yield
    finally:
        process.terminate()
        process.wait(30)


def attempts(span: Span) -> bool:
    return span.kind == "CONSUMER"


def test_a_call_from_go_is_followed_through_the_server_to_a_worker_in_python(
    redis: RedisBackend, serve: StartServer, collector: Collector, tmp_path: Path, go_tool: Callable[..., str]
) -> None:
    server = serve(redis.url, "--no-dispatch", TOCSIN_TRACING__ENABLED="true", **collector.environment)
    asked = {"job": {"type": "echo", "data": {"secret": SECRET}}, "job_id": "a"}
    metadata = ("-H", f"traceparent: {PARENT}", "-H", "tracestate: rojo=1", "-H", f"baggage: {SECRET}=1")
    address = (server.address, "tocsin.v1.JobService/ScheduleJob")
    command = [go_tool("grpcurl"), "-plaintext", *metadata, "-d", json.dumps(asked), *address]
    answer = json.loads(subprocess.run(command, capture_output=True, check=True, text=True).stdout)
    assert answer["job"]["spec"]["trace_context"] == {"traceparent": PARENT, "tracestate": "rojo=1"}

    env = {**collector.environment, "OTEL_SERVICE_NAME": "mailer"}
    with (
        a_worker(server, tmp_path, "run", "support.jobs.everyday", "--tracing", **env),
        Client(server.address) as client,
    ):
        assert client.wait("a", timeout=30).state == "COMPLETED"
        [attempt] = collector.until("the attempt is told of", attempts)

    [call] = collector.until("the call is told of", lambda span: span.name.endswith("ScheduleJob"))
    assert (call.trace, call.parent, call.kind, call.service) == (TRACE, SPAN, "SERVER", "tocsin-server")
    assert call.attributes["rpc.grpc.status_code"] == 0
    assert attempt.links == ((TRACE, SPAN),)
    assert (attempt.parent, attempt.name, attempt.service, attempt.error) == ("", "process default", "mailer", "")
    assert attempt.trace != TRACE
    assert attempt.attributes["messaging.message.id"] == "a"
    assert attempt.attributes["tocsin.attempt.outcome"] == "COMPLETED"
    assert SECRET.encode() not in collector.raw


def test_each_attempt_in_the_server_is_a_span_of_its_own(
    store: StoreBackend, serve: StartServer, collector: Collector
) -> None:
    env = {"TOCSIN_TRACING__ENABLED": "true", **collector.environment}
    server = serve(store.url, handlers="support.jobs.everyday", **env)
    tracer = TracerProvider().get_tracer("a service")
    with Client(server.address) as client, tracer.start_as_current_span("book a room") as span:
        client.schedule(
            "fails_at_first", {"failures": 1, "secret": SECRET}, job_id="twice", retry=RetryPolicy(initial_delay=0.01)
        )
        client.schedule("sync_noop", {}, job_id="in a thread", queue="other")
        assert client.wait("twice", timeout=30).state == "COMPLETED"
    submitted = span.get_span_context()
    found = collector.until("three attempts", attempts, 3)
    link = (f"{submitted.trace_id:032x}", f"{submitted.span_id:016x}")
    assert {span.links for span in found} == {(link,)}
    assert len({span.trace for span in found}) == 3
    by_number = {one.attributes["tocsin.job.attempt"]: one for one in found if one.name == "process default"}
    assert [(by_number[n].error, by_number[n].attributes["tocsin.attempt.outcome"]) for n in (1, 2)] == [
        ("ValueError", "FAILED"),
        ("", "COMPLETED"),
    ]
    assert SECRET.encode() not in collector.raw
    assert b"attempt 1 fails" not in collector.raw


def test_a_trace_travels_with_batches_and_exports_and_not_with_schedules(
    redis: RedisBackend, serve: StartServer
) -> None:
    server = serve(redis.url)
    with Client(server.address) as client, _a_span() as parent:
        client.schedules.create("daily", cron="0 9 * * *", type="later", missed=Missed.SKIP)
        fired = client.schedules.trigger("daily")
        client.schedule("later", {}, job_id="a", delay=3600)
        client.schedule_many([JobRequest("later", job_id=f"many-{n}", delay=3600) for n in range(3)])
    with Client(server.address) as client:
        for name in ("a", "many-0", "many-1", "many-2"):
            assert client.get(name).message.spec.trace_context.traceparent == parent
        assert not client.get(fired).message.spec.HasField("trace_context")
        client.schedule("later", {}, job_id="b", delay=3600)
        assert not client.get("b").message.spec.HasField("trace_context")
        exported = b"".join(record.SerializeToString() for record in client.export_jobs())
        assert exported.count(parent.encode()) == 4


def test_a_program_is_told_of_the_trace(redis: RedisBackend, serve: StartServer, tmp_path: Path) -> None:
    server = serve(redis.url, "--no-dispatch")
    command = ("exec", "--type", "shell", "--", "sh", "-c", 'printf \'"%s"\' "$TRACEPARENT"')
    with a_worker(server, tmp_path, *command, TRACEPARENT="another"), Client(server.address) as client:
        with _a_span() as parent:
            traced = client.schedule("shell", {})
        untraced = client.schedule("shell", {})
        assert client.wait(traced, timeout=30).result == parent
        assert client.wait(untraced, timeout=30).result == ""


@pytest.mark.timeout(example_workers.BUILD_SECONDS + 120)
@pytest.mark.parametrize("language", ["go", "node"])
def test_examples_in_other_languages_have_spans_that_are_linked(
    language: str,
    redis: RedisBackend,
    serve: StartServer,
    collector: Collector,
    not_run: Callable[[str, str], NoReturn],
) -> None:
    try:
        client, worker = (example_workers.command(language, program) for program in ("client", "worker"))
    except example_workers.NotBuilt as trouble:
        not_run("languages", str(trouble))
    server = serve(redis.url, "--no-dispatch", TOCSIN_TRACING__ENABLED="true", **collector.environment)
    env = {**os.environ, "TOCSIN_SERVER": server.address, "TOCSIN_QUEUE": "q", **collector.environment}
    working = subprocess.Popen(worker, env={**env, "OTEL_SERVICE_NAME": "worker"})
    try:
        folder = example_workers.built(language)  # where the client reads its service config
        subprocess.run(client, env={**env, "OTEL_SERVICE_NAME": "client"}, cwd=folder, check=True, timeout=60)
        calls = collector.until(
            "calls of the client", lambda span: span.service == "client" and "Schedule" in span.name
        )
        [attempt] = collector.until("the attempt", attempts)
    finally:
        working.terminate()
        working.wait(30)
    assert attempt.service == "worker"
    assert attempt.links[0] in {(span.trace, span.span) for span in calls}
    in_server = collector.until("the server's part", lambda span: span.kind == "SERVER" and "Schedule" in span.name)
    assert {(span.trace, span.parent) for span in in_server} & {(span.trace, span.span) for span in calls}


@contextmanager
def _a_span() -> Iterator[str]:
    with TracerProvider().get_tracer("a service").start_as_current_span("book a room") as span:
        context = span.get_span_context()
        yield f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"
