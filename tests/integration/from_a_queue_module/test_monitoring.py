"""What looks after queues and servers."""

from __future__ import annotations

import json

import pytest
from support.eventually import until
from support.redis_backend import RedisBackend
from support.servers import Server
from tocsin import Client, RetryPolicy

from integration.from_a_queue_module.conftest import StartServer
from integration.from_a_queue_module.lines import Lines

ONCE = RetryPolicy(max_attempts=1)

on_redis = pytest.mark.parametrize("server", ["redis"], indirect=True)


@on_redis
def test_health_watch(lines: Lines, client: Client) -> None:
    client.schedule("send_fax", job_id="fax")
    assert "healthy no error no process runs jobs of type send_fax" in lines.shell(exits=4)
    recipe = lines.background({"HEALTH_SILENCE": "1"})
    until(lambda: recipe.said("not healthy: no process runs jobs of type send_fax"), within=20)
    client.cancel("fax")
    until(lambda: recipe.said("INFO healthy"), within=20)


@on_redis
def test_failed_jobs_watch(lines: Lines, client: Client) -> None:
    recipe = lines.background()
    failed = 0

    def one_more() -> int:
        # It has no word for "I am watching now", so that jobs fail until it tells of one.
        nonlocal failed
        failed += 1
        client.wait(client.schedule("charge_card", {"amount": 4200}, retry=ONCE, job_id=f"order-{failed}"), timeout=20)
        return recipe.said("failed in attempt 1: ValueError: no cover")

    until(one_more, within=20, what="a failure is told of")


def test_probes(lines: Lines, redis: RedisBackend, start: StartServer) -> None:
    server = start(redis.url)
    lines.at(server.address)
    assert lines.shell() == lines.shell() == "status: SERVING"
    assert server.stop() == 0
    for _ in range(2):
        lines.again().shell(exits=2)


@on_redis
def test_no_dashboard_yet(lines: Lines, client: Client) -> None:
    client.schedule("resize_image", {"path": "a.png"}, delay=3600)
    client.wait(client.schedule("charge_card", {"amount": 4200}, retry=ONCE, job_id="order-7"), timeout=20)
    queues = lines.shell()
    assert "QUEUE SCHEDULED BLOCKED WAITING ACTIVE COMPLETED FAILED CANCELLED default 1 0 0 0 0 1 0" in queues
    failed = lines.shell()
    assert failed.startswith("JOB_ID TYPE STATE DUE ATTEMPT LAST ERROR order-7 charge_card FAILED")
    assert failed.endswith("no cover")


@on_redis
def test_no_metrics_yet(lines: Lines, server: Server, client: Client) -> None:
    client.wait(client.schedule("resize_image", {"path": "a.png"}), timeout=20)
    figures = json.loads(lines.shell())
    assert {state: count for state, count in figures["counts"].items() if count != "0"} == {"completed": "1"}
    assert figures["counts"]["failed"] == "0"
    assert figures["completedPerSecond"] > 0
    assert {"healthy", "lag", "workers"} <= figures.keys()
