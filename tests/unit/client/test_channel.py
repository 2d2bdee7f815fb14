"""Where a client connects, and how it says who it is."""

from __future__ import annotations

from typing import Any

import grpc
import pytest
from tocsin import AsyncClient, InvalidArgument
from tocsin._channel import resolve_address
from unit.client.canned_server import CannedJobService


@pytest.mark.parametrize(
    ("given", "resolved"),
    [
        (None, "localhost:50051"),
        ("", "localhost:50051"),
        ("example.com:1234", "example.com:1234"),
        ("example.com", "example.com:50051"),
        ("10.0.0.1", "10.0.0.1:50051"),
        ("[::1]:9", "[::1]:9"),
        ("[::1]", "[::1]:50051"),
        ("::1", "[::1]:50051"),
        ("unix:/run/tocsin.sock", "unix:/run/tocsin.sock"),
        ("dns:///example.com:1", "dns:///example.com:1"),
    ],
)
def test_an_address_is_completed(given: str | None, resolved: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TOCSIN_ADDRESS", raising=False)
    assert resolve_address(given) == resolved


def test_the_environment_stands_in_for_an_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOCSIN_ADDRESS", "example.com:7")
    assert AsyncClient().address == "example.com:7"
    assert AsyncClient("other:8").address == "other:8"


def test_an_http_address_is_refused_with_the_right_one() -> None:
    with pytest.raises(ValueError, match=r"without http: 'example\.com:50051'"):
        resolve_address("http://example.com:50051/")


def test_a_deadline_that_is_no_span_is_refused_at_once() -> None:
    with pytest.raises(TypeError, match="deadline"):
        AsyncClient(deadline="10s")  # type: ignore[arg-type]  # on purpose
    with pytest.raises(InvalidArgument, match="deadline"):
        AsyncClient(deadline=float("inf"))


async def test_a_token_goes_with_each_call(address: str, service: CannedJobService) -> None:
    heard: list[Any] = []

    async def begin(method: str, request: object, context: grpc.aio.ServicerContext[Any, Any]) -> None:
        heard.append(dict(context.invocation_metadata() or ()).get("authorization"))

    service._begin = begin  # type: ignore[method-assign,assignment]  # listens instead
    async with AsyncClient(address, token="s3cret") as client:
        await client.schedule("x")
        await client.run("a")
    assert heard == ["Bearer s3cret"] * 2


async def test_a_closed_client_refuses_calls_and_closing_again_is_fine(address: str) -> None:
    client = AsyncClient(address)
    await client.schedule("x")
    await client.close()
    await client.close()
    with pytest.raises(RuntimeError, match="closed"):
        await client.get("a")
    with pytest.raises(RuntimeError, match="closed"):
        await client.schedule("x")
