"""What a server tells Prometheus is what happened."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Callable

import grpc
import pytest
from support.jobs import everyday
from support.redis_backend import RedisBackend
from support.scraping import METRICS, metrics_address, scraped, text_of, until_told
from support.servers import Server
from support.stores import StoreBackend
from support.stubs import Stubs
from tocsin import Client, Worker

StartServer = Callable[..., Server]
SERVED = {**METRICS, "handlers": "support.jobs.everyday"}

CANARY = "canary-7f3a"


def test_jobs_attempts_waits_and_calls_are_told(store: StoreBackend, serve: StartServer) -> None:
    server = serve(store.url, **SERVED)
    address = metrics_address(server)
    with Client(server.address) as client:
        for number in range(3):
            client.wait(client.schedule("echo", {"n": number}, queue="mail"), queue="mail")
        client.wait(client.schedule("fails_for_good", queue="mail"), queue="mail")
        client.schedule("echo", {}, queue="mail", delay=3600)
        client.schedule("nobody_runs_this", {}, queue="web")
        client.wait(client.schedule("echo", {}, queue="web", delay=0.3), queue="web")
    told = until_told(
        address, "all jobs are told of", lambda told: told.get(("tocsin_jobs", "web", "echo", "COMPLETED")) == 1
    )
    jobs = {labels[1:]: value for labels, value in told.items() if labels[0] == "tocsin_jobs"}
    assert jobs == {
        ("mail", "echo", "COMPLETED"): 3,
        ("mail", "echo", "SCHEDULED"): 1,
        ("mail", "fails_for_good", "FAILED"): 1,
        ("web", "nobody_runs_this", "WAITING"): 1,
        ("web", "echo", "COMPLETED"): 1,
    }
    assert told["tocsin_queues",] == 2
    assert told["tocsin_queue_oldest_due_age_seconds", "mail"] == 0
    assert told["tocsin_queue_oldest_due_age_seconds", "web"] > 0
    later = until_told(
        address,
        "the age grows with the clock",
        lambda now: (
            now["tocsin_queue_oldest_due_age_seconds", "web"] > told["tocsin_queue_oldest_due_age_seconds", "web"]
        ),
    )
    assert later["tocsin_attempts_total", "mail", "echo", "COMPLETED"] == 3
    assert later["tocsin_attempts_total", "mail", "fails_for_good", "FAILED"] == 1
    assert later["tocsin_attempt_seconds_count", "echo"] == 4
    assert later["tocsin_job_waiting_seconds_count", "mail"] == 4
    assert later["tocsin_job_lateness_seconds_count", "web"] == 1
    assert 0 <= later["tocsin_job_lateness_seconds_sum", "web"] < 5
    assert later["tocsin_calls_total", "tocsin.v1.JobService/ScheduleJob", "OK"] == 7
    assert later["tocsin_call_seconds_count", "tocsin.v1.JobService/ScheduleJob"] == 7
    assert (later["tocsin_slots", "handlers"], later["tocsin_slots_busy", "handlers"]) == (20, 0)
    assert later["tocsin_outcomes_unrecorded",] == 0
    assert later["tocsin_ready",] == 1
    assert later["tocsin_store_round_trip_seconds_count",] > 20
    assert later["tocsin_store_silence_seconds",] < 5
    assert later["tocsin_loop_lag_seconds_count", "server"] > 0
    assert later["process_cpu_seconds_total",] > 0


def test_two_servers_tell_the_same_of_what_stands(redis: RedisBackend, serve: StartServer) -> None:
    servers = [serve(redis.url, "--no-dispatch", **METRICS) for _ in range(2)]
    with Client(servers[0].address) as client:
        for queue in ("a", "b"):
            client.schedule("t", {}, queue=queue, delay=3600)

    def standing(told: object) -> dict[tuple[str, ...], float]:
        assert isinstance(told, dict)
        return {labels: value for labels, value in told.items() if labels[0] in ("tocsin_jobs", "tocsin_queues")}

    wanted = {
        ("tocsin_queues",): 2,
        ("tocsin_jobs", "a", "t", "SCHEDULED"): 1,
        ("tocsin_jobs", "b", "t", "SCHEDULED"): 1,
    }
    for server in servers:
        until_told(metrics_address(server), "both are told of", lambda told: standing(told) == wanted)


def test_workers_their_credits_and_what_they_hold_are_told(redis: RedisBackend, serve: StartServer) -> None:
    server = serve(redis.url, "--no-dispatch", **METRICS)
    address = metrics_address(server)
    worker = Worker(server.address, everyday.handlers, concurrency=7)
    running = threading.Thread(target=worker.run)
    running.start()
    try:
        told = until_told(address, "the worker is there", lambda told: told["tocsin_worker_credits",] > 0)
        assert told["tocsin_workers",] == 1
        assert told["tocsin_open_calls", "worker"] == 1
        with Client(server.address) as client:
            assert client.wait(client.schedule("echo", {})).state == "COMPLETED"
        told = scraped(address)
        assert told["tocsin_attempts_total", "default", "echo", "COMPLETED"] == 1
        assert told["tocsin_job_waiting_seconds_count", "default"] == 1
    finally:
        worker.stop()
        running.join()
    until_told(address, "its stream has ended", lambda told: told["tocsin_open_calls", "worker"] == 0)


def test_schedules_that_fire_are_told(redis: RedisBackend, serve: StartServer) -> None:
    server = serve(redis.url, **SERVED)
    with Client(server.address) as client:
        client.schedules.create("often", every=1, type="echo", payload={}, queue="clock")
    until_told(
        metrics_address(server),
        "it has fired",
        lambda told: told.get(("tocsin_schedule_fires_total", "clock"), 0) >= 1,
    )


def test_refused_calls_are_told_by_their_code_and_names_of_callers_are_not_told(
    redis: RedisBackend, serve: StartServer
) -> None:
    server = serve(redis.url, "--no-dispatch", **METRICS)
    with grpc.insecure_channel(server.address) as channel:
        for path in (f"/tocsin.v1.JobService/{CANARY}", f"/tocsin.v1.{CANARY}/Get"):
            with pytest.raises(grpc.RpcError):
                channel.unary_unary(path)(b"", timeout=10)
    with Client(server.address) as client, pytest.raises(Exception, match=CANARY):
        client.get(CANARY, queue="q")
    with Client(server.address) as client:
        client.schedule("t", {"secret": CANARY}, job_id=CANARY, tags={"a": CANARY}, queue="q")
    address = metrics_address(server)
    told = until_told(address, "the job is told of", lambda told: ("tocsin_jobs", "q", "t", "WAITING") in told)
    assert told["tocsin_calls_total", "unknown", "UNIMPLEMENTED"] == 2
    assert told["tocsin_calls_total", "tocsin.v1.JobService/GetJob", "NOT_FOUND"] == 1
    assert CANARY not in text_of(address)


def test_a_store_that_is_away_is_told_and_the_last_picture_stays(redis: RedisBackend, serve: StartServer) -> None:
    server = serve(redis.url, "--no-dispatch", **METRICS)
    address = metrics_address(server)
    with Stubs(server.address) as stubs:
        stubs.schedule("q", "t")
    until_told(address, "the job is told of", lambda told: ("tocsin_jobs", "q", "t", "WAITING") in told)
    redis.stop()
    told = until_told(address, "it is not ready", lambda told: told["tocsin_ready",] == 0)
    assert told["tocsin_jobs", "q", "t", "WAITING"] == 1
    assert told["tocsin_store_errors_total", "StoreAway"] >= 1
    assert told["tocsin_store_silence_seconds",] > 0


def test_promtool_finds_nothing_to_mend(redis: RedisBackend, serve: StartServer, promtool: str) -> None:
    server = serve(redis.url, **SERVED)
    with Client(server.address) as client:
        client.wait(client.schedule("echo", {}))
    text = text_of(metrics_address(server))
    found = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, text=True, timeout=30)
    assert (found.returncode, found.stdout, found.stderr) == (0, "", "")


def test_nothing_is_served_where_nobody_asked_for_it(redis: RedisBackend, serve: StartServer) -> None:
    server = serve(redis.url, "--no-dispatch")
    with pytest.raises(KeyError):
        metrics_address(server)
