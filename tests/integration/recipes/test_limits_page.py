"""What docs/limits.md shows works as it stands there."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import pytest
from google.protobuf import json_format
from support.commands import typed
from support.eventually import until
from support.mongo_backend import MongoBackend
from support.redis_backend import RedisBackend
from support.servers import Server
from support.source_tree import ROOT
from support.stubs import Stubs, refusal
from tocsin import Client, Limit, LimitScope
from tocsin.v1 import queue_service_pb2

PAGE = (ROOT / "docs/limits.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
GRPCURL, TYPED, SHARED = [text.splitlines() for language, text in BLOCKS if language == "console"]
PROGRAM, SHARED_PROGRAM, HANDLER = [text for language, text in BLOCKS if language == "python"]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where a server is whose queues are those of the page."""
    folder = tmp_path_factory.mktemp("limits")
    with RedisBackend(folder / "redis") as redis:
        server = Server(folder, ["--no-dispatch"], {"REDIS_URL": redis.url}).start()
        yield server.address
        server.kill()


@pytest.fixture
def address(served: str) -> Iterator[str]:
    """The same, where nobody has used the queue yet."""
    yield served
    with Client(served) as client:
        client.purge("crm", states=["SCHEDULED", "WAITING"])
        client.delete_queue("crm")


def test_the_grpcurl_lines_work(address: str, go_tool: Callable[[str], str]) -> None:
    for line in GRPCURL:
        arguments = shlex.split(line.removeprefix("$ grpcurl ").replace("localhost:50051", address))
        done = subprocess.run([go_tool("grpcurl"), *arguments], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
    with Client(address) as client:
        queue = client.queue("crm")
        assert [limit.name for limit in queue.limits] == ["per-customer", "api"]
        assert (queue.fair_turns, queue.paused, queue.pause_until is None) == (True, True, False)
        assert queue.priority_ageing == timedelta(minutes=10)


def test_the_program_works(address: str) -> None:
    program = PROGRAM.replace("localhost:50051", address)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[1:] == ["per-customer KEY 1", "api QUEUE None", "gpu TYPE 2"]


def test_the_command_lines_work(address: str) -> None:
    said = []
    for line in TYPED:
        done = typed(*shlex.split(line.removeprefix("$ tocsin ")), "--address", address)
        assert done.returncode == 0, done.stderr
        said.append(done.stdout)
    assert [" ".join(line.split()) for line in said[2].splitlines()[1:]] == [
        "per-customer KEY 1 WAIT",
        "api QUEUE 100/1m burst 10 WAIT",
        "keys take turns",
        "one priority gained in each 10m of waiting",
    ]
    with Client(address) as client:
        queue = client.queue("crm")
        assert ([limit.name for limit in queue.limits], queue.fair_turns) == (["per-customer"], False)


def test_the_lines_and_the_program_of_shared_limits_work(address: str, go_tool: Callable[[str], str]) -> None:
    with Client(address) as client:
        client.schedule("sync", queue="crm", delay=3600)  # the page has it
        for line in SHARED:
            words = shlex.split(line.removeprefix("$ ").replace("localhost:50051", address))
            tool = [go_tool("grpcurl"), *words[1:]]
            if words[0] == "grpcurl":
                grpcurl = subprocess.run(tool, capture_output=True, text=True, timeout=60)
                assert grpcurl.returncode == 0, grpcurl.stderr
            else:
                done = typed(*words[1:], "--address", address)
                assert done.returncode == 0, done.stderr
        [limit] = client.shared_limits.list()
        assert (limit.name, limit.queues, limit.max_active) == ("crm-api", ("crm", "mail"), 5)
        program = SHARED_PROGRAM.replace("localhost:50051", address)
        ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
        assert (ran.returncode, ran.stdout) == (0, "crm-api 0 5 {}\n"), ran.stderr
        client.shared_limits.delete("crm-api")


def test_a_handler_of_the_page_pauses_the_limit(
    redis: RedisBackend, serve: Callable[..., Server], tmp_path: Path
) -> None:
    code = HANDLER.replace("if busy_until_ten():", "if True:")
    (tmp_path / "crm.py").write_text("from datetime import timedelta\n\n" + code)
    address = serve(redis.url, handlers="crm").address
    with Client(address) as client:
        client.update_queue("crm", limits=[Limit("api", LimitScope.TYPE, type="sync", max_active=5)])
        first = client.schedule("sync", queue="crm")
        until(lambda: client.get(first).failures == 1, within=20, what="it failed")
        second = client.schedule("sync", queue="crm")
        found = client.explain(second)
        assert (found.reason, found.name, found.active) == ("LIMIT", "api", 0)
        assert found.time is not None
        assert timedelta(minutes=19) < found.time - datetime.now(UTC) <= timedelta(minutes=20)
        assert client.get(second).state == "WAITING"


def test_the_program_works_on_mongodb(mongo_database: MongoBackend, serve: Callable[..., Server]) -> None:
    address = serve(mongo_database.url, "--no-dispatch").address
    program = PROGRAM.replace("localhost:50051", address)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[1:] == ["per-customer KEY 1", "api QUEUE None", "gpu TYPE 2"]
    with Client(address) as client:
        assert client.queue("crm").fair_turns
        renders = [client.schedule("render", queue="crm", limit_key=f"customer-{number}") for number in range(3)]
        assert [client.get(job).state for job in renders] == ["WAITING", "WAITING", "CANCELLED"]


@pytest.mark.parametrize(
    ("limits", "field"),
    [
        ('{"name":"a b","scope":"KEY","max_active":1}', "queue.limits[0].name"),
        ('{"name":"a","max_active":1}', "queue.limits[0].scope"),
        ('{"name":"a","scope":"TYPE","max_active":1}', "queue.limits[0].type"),
        ('{"name":"a","scope":"QUEUE","type":"t","max_active":1}', "queue.limits[0].type"),
        ('{"name":"a","scope":"QUEUE"}', "queue.limits[0]"),
        ('{"name":"a","scope":"QUEUE","max_active":0}', "queue.limits[0].max_active"),
        ('{"name":"a","scope":"QUEUE","rate":{"jobs":0,"per":"1s"}}', "queue.limits[0].rate.jobs"),
        ('{"name":"a","scope":"QUEUE","rate":{"jobs":1}}', "queue.limits[0].rate.per"),
        ('{"name":"a","scope":"QUEUE","rate":{"jobs":1,"per":"1s","burst":2}}', "queue.limits[0].rate.burst"),
        ('{"name":"a","scope":"QUEUE","rate":{"jobs":1,"per":"1s"},"on_full":"CANCEL_NEW"}', "queue.limits[0].on_full"),
        ('{"name":"a","scope":"KEY","max_active":1},{"name":"a","scope":"KEY","max_active":2}', "queue.limits[1].name"),
    ],
)
def test_what_is_wrong_with_a_limit_is_named_and_nothing_changes(limits: str, field: str, quiet_server: Server) -> None:
    text = f'{{"queue":{{"queue":"limits-refused","limits":[{limits}]}}}}'
    request = json_format.Parse(text, queue_service_pb2.UpdateQueueRequest())
    with Stubs(quiet_server.address) as stubs:
        with pytest.raises(grpc.RpcError) as raised:
            stubs.queues.UpdateQueue(request)
        assert refusal(raised.value).fields == [field]
        assert not stubs.queues.GetQueue(queue_service_pb2.GetQueueRequest(queue="limits-refused")).queue.limits
