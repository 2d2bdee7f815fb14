"""`tocsin health` exits as grpc-health-probe does."""

from __future__ import annotations

from collections.abc import AsyncIterator

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import aio
from support.ports import free_port
from unit.client.cli.conftest import Tocsin

Status = health_pb2.HealthCheckResponse


@pytest.fixture
async def healthy_address() -> AsyncIterator[str]:
    server = grpc.aio.server()
    servicer = aio.HealthServicer()
    await servicer.set("", Status.SERVING)
    await servicer.set("tired", Status.NOT_SERVING)
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield f"127.0.0.1:{port}"
    await server.stop(0)


async def test_a_serving_server_exits_0(tocsin: Tocsin, healthy_address: str) -> None:
    done = await tocsin("health", "--address", healthy_address)
    assert (done.code, done.out) == (0, "status: SERVING\n")
    assert (await tocsin("health", "--json", "-a", healthy_address)).out == '{"status": "SERVING"}\n'


async def test_a_service_that_does_not_serve_exits_4(tocsin: Tocsin, healthy_address: str) -> None:
    done = await tocsin("health", "--service", "tired", "-a", healthy_address)
    assert (done.code, done.out) == (4, "status: NOT_SERVING\n")


async def test_an_unknown_service_exits_3(tocsin: Tocsin, healthy_address: str) -> None:
    done = await tocsin("health", "--service", "unknown", "-a", healthy_address)
    assert done.code == 3
    assert done.err.startswith("tocsin: the server has no service 'unknown'")


async def test_a_server_that_knows_no_health_exits_3(tocsin: Tocsin, address: str) -> None:
    assert (await tocsin("health", "-a", address)).code == 3


async def test_no_connection_exits_2(tocsin: Tocsin) -> None:
    done = await tocsin("health", "--connect-timeout", "200ms", "-a", f"127.0.0.1:{free_port()}")
    assert done.code == 2
    assert "within 0.2 s" in done.err


@pytest.mark.parametrize("line", ["health --bogus", "health --connect-timeout soon", "health -a http://localhost"])
async def test_misuse_exits_1_for_2_would_say_that_there_is_no_connection(line: str, tocsin: Tocsin) -> None:
    assert (await tocsin(*line.split())).code == 1
