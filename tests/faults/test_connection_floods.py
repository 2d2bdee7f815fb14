"""More connections than a process may have descriptors for, on which nobody speaks: who calls is answered all the same,
what runs goes on, and what one client holds is bounded."""

from __future__ import annotations

import contextlib
import socket
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from support.eventually import until
from support.journal import Journal
from support.redis_backend import RedisBackend
from support.servers import Server
from support.stores import store_settings
from support.stubs import State, Stubs

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SETTINGS = bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))
#: What is said on a connection before silence.
SAID = {
    "nothing": b"",
    "a part of the preface": b"PRI",
    "the preface": PREFACE,
    "settings, no call": PREFACE + SETTINGS,
}
#: A process with 1,024 descriptors, and no way to have more.
FEW = ("sh", "-c", 'ulimit -n 1024 && exec "$0" "$@"', sys.executable, "-m", "tocsin.cli.main")


def probe(address: str, timeout: float) -> int:
    """Health, asked over a connection of its own."""
    with grpc.insecure_channel(address, options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
        asked = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=timeout)
        return int(asked.status)


@contextmanager
def connections(port: int, number: int, said: bytes) -> Iterator[Sequence[socket.socket]]:
    with ExitStack() as stack:
        yield [stack.enter_context(connection(port, said)) for _ in range(number)]


def connection(port: int, said: bytes) -> socket.socket:
    made = socket.create_connection(("127.0.0.1", port), timeout=10)
    with contextlib.suppress(ConnectionError):  # closed already: there was no room for it
        made.sendall(said)
    return made


def stands(one: socket.socket) -> bool:
    """Whether the server has not closed it."""
    one.setblocking(False)
    try:
        while one.recv(65_536):
            pass
    except BlockingIOError:
        return True
    except ConnectionError:
        pass
    return False


def seconds_of(call: Callable[[], object]) -> float:
    """How long a call takes, of ten the median: other programs are at work on the machine, too."""
    took = []
    for _ in range(10):
        began = time.monotonic()
        call()
        took.append(time.monotonic() - began)
    return statistics.median(took)


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Journal]]:
    """A server with 1,024 descriptors that runs jobs, with leases of 3 s."""
    folder = tmp_path_factory.mktemp("narrow")
    journal = Journal(folder / "journal")
    with RedisBackend(folder / "redis") as redis:
        env = {**store_settings(redis.url), "TOCSIN_LEASE__DURATION": "3s", **journal.env}
        server = Server(folder, ["--handlers", "support.jobs.uncollected"], env, program=FEW)
        server.start()
        yield server, journal
        server.kill()


@pytest.mark.parametrize("said", SAID.values(), ids=SAID)
def test_1100_connections_without_calls_keep_nobody_out(narrow: tuple[Server, Journal], said: bytes) -> None:
    server, journal = narrow
    job_id = f"beside-{len(said)}"
    with Stubs(server.address) as stubs:
        stubs.schedule("work", "steady", {"seconds": 5}, job_id=job_id)
        stubs.wait_for("work", job_id, State.ACTIVE)
        with connections(server.port, 1_100, said):
            old = seconds_of(lambda: stubs.get("work", job_id))  # by whom a connection is had already
            came = time.monotonic()

            def answered() -> bool:
                with contextlib.suppress(grpc.RpcError):
                    return probe(server.address, 1) == health_pb2.HealthCheckResponse.SERVING
                return False

            until(answered, within=5)  # by newcomers
            assert time.monotonic() - came < 5
            assert old < 0.2
            assert seconds_of(lambda: probe(server.address, 5)) < 0.2
        job = stubs.wait_for("work", job_id, State.COMPLETED, within=20)
    assert (job.attempt, job.crashes) == (1, 0)
    assert journal.starts()[job_id] == 1
    assert "connections closed" in server.said(100_000)


def test_a_client_holds_as_many_connections_as_it_may_and_those_that_call_stay(
    redis: RedisBackend, serve: Callable[..., Server]
) -> None:
    server = serve(redis.url, "--no-dispatch", TOCSIN_CONNECTIONS__PER_ADDRESS="20")
    with Stubs(server.address) as stubs:
        stubs.schedule("q", "t", job_id="a", delay=60)
        with connections(server.port, 200, PREFACE + SETTINGS) as opened:
            until(lambda: sum(map(stands, opened)) == 19, within=10)
            for _ in range(20):
                assert stubs.get("q", "a").job_id == "a"  # over the connection that it had
        until(lambda: probe(server.address, 5) == health_pb2.HealthCheckResponse.SERVING, within=5)


@pytest.mark.parametrize("said", [SAID["nothing"], SAID["a part of the preface"], SAID["the preface"]])
def test_a_connection_that_does_not_begin_is_closed(
    redis: RedisBackend, serve: Callable[..., Server], said: bytes
) -> None:
    server = serve(redis.url, "--no-dispatch", TOCSIN_CONNECTIONS__HANDSHAKE_TIMEOUT="1s")
    with connections(server.port, 3, said) as opened:
        until(lambda: not any(map(stands, opened)), within=5)


def test_a_client_that_pings_all_the_time_is_sent_away(redis: RedisBackend, serve: Callable[..., Server]) -> None:
    server = serve(redis.url, "--no-dispatch")
    ping, goaway = bytes((0, 0, 8, 6, 0, 0, 0, 0, 0)) + bytes(8), 7
    with connection(server.port, PREFACE + SETTINGS) as one, one.makefile("rb") as incoming:
        with contextlib.suppress(ConnectionError):
            one.sendall(ping * 20)
        kinds = set()
        with contextlib.suppress(ConnectionError):
            while len(head := incoming.read(9)) == 9:
                kinds.add(head[3])
                incoming.read(int.from_bytes(head[:3], "big"))
    assert goaway in kinds


def test_without_reflection_nothing_is_told_of_the_services(
    redis: RedisBackend, serve: Callable[..., Server], tmp_path: Path
) -> None:
    server = serve(redis.url, "--no-dispatch", TOCSIN_REFLECTION="no")
    with Stubs(server.address) as stubs:
        stubs.schedule("q", "t", delay=60)
        for version in ("v1", "v1alpha"):
            asked = stubs.channel.stream_stream(f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo")
            with pytest.raises(grpc.RpcError) as caught:
                list(asked(iter([b"\x3a\x01*"]), timeout=10))
            assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
