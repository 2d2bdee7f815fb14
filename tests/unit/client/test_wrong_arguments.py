"""What a client is given that it cannot take: said at once, with the argument's name and what to give instead."""

from __future__ import annotations

import asyncio
import copy
import json
import pickle
import socket
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from tocsin import (
    AsyncClient,
    Client,
    DeadlineExceeded,
    InvalidArgument,
    Job,
    JobDefaults,
    Tls,
    TocsinError,
    Unavailable,
    UnusableClient,
    View,
    WrongType,
)
from tocsin._channel import is_local
from tocsin.v1 import job_pb2


@pytest.fixture(scope="module")
def nowhere() -> Iterator[Any]:
    """A client of no server: only what is refused before anything is sent can be told by it."""
    with Client("127.0.0.1:1", retries=False) as client:
        yield client


def test_an_amount_with_decimals_is_told_of_minor_units(nowhere: Any) -> None:
    with pytest.raises(WrongType, match=r"amount_minor: is an integer, in the currency's minor units: 2500 for EUR 25"):
        nowhere.schedule_payment_reminders("p", datetime.now(UTC), 25.00, "EUR")


ID = UUID("12345678123456781234567812345678")


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda c: c.schedule("x", retry={"max_attempts": 3}), "retry: is a RetryPolicy, not of type dict"),
        (lambda c: c.schedule("x", retention=5), "retention: is a Retention, not of type int"),
        (lambda c: c.schedule("x", tags=["a"]), "job.tags: is a dict of text, not of type list"),
        (lambda c: c.schedule("x", job_id=ID), "job_id: is text, not of type UUID"),
        (lambda c: c.schedule_many(5), "requests: is a list, not of type int"),
        (lambda c: c.cancel_many(5), "jobs: is a list, not of type int"),
        (lambda c: c.cancel_many(tags=["a"]), "tags: is a dict"),
        (lambda c: c.update_queue(defaults=JobDefaults(retry={})), "retry: is a RetryPolicy"),
        (lambda c: Client(50051), 'address: is "host:port", not of type int'),
    ],
)
def test_a_value_of_another_kind_is_a_wrong_type(nowhere: Any, call: Callable[[Any], object], named: str) -> None:
    with pytest.raises(WrongType, match=named):
        call(nowhere)


def test_what_is_no_request_is_the_error_of_its_place(nowhere: Any) -> None:
    [error] = nowhere.schedule_many([{"type": "x"}])
    assert isinstance(error, WrongType)
    assert str(error) == "requests[0]: is a JobRequest, not of type dict"


def test_a_time_without_a_zone_is_named_as_it_was_given(nowhere: Any) -> None:
    with pytest.raises(InvalidArgument, match=r"^at: is a time without a zone"):
        nowhere.schedule("x", at=datetime(2099, 1, 1))


@pytest.mark.parametrize("given", ["localhost:99999", "localhost:0", "[::1]:70000", "localhost:abc"])
def test_a_port_that_there_is_not_is_refused(given: str) -> None:
    with pytest.raises(InvalidArgument, match="port of 1 to 65535"):
        Client(given)


def test_words_may_be_in_any_case(nowhere: Any) -> None:
    with pytest.raises(Unavailable):  # which is to say, it was sent
        nowhere.schedule("x", priority="High", on_conflict="keep")
    with pytest.raises(Unavailable):
        nowhere.count(states=["failed"])


@pytest.mark.parametrize("tls", [None, Tls()])
def test_a_server_that_is_not_there_is_named(tls: Tls | None) -> None:
    hint = "is it running, and is this its address" if tls is None else "does the server speak TLS there"
    with Client("localhost:1", tls=tls, retries=False) as client, pytest.raises(Unavailable) as caught:
        client.count()
    assert f"no server is reached at localhost:1{' with TLS' if tls else ''}: {hint}?" in str(caught.value)
    assert caught.value.never_sent


def test_a_server_that_does_not_answer_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        with Client(address, deadline=0.5, retries=False) as client, pytest.raises(DeadlineExceeded) as caught:
            client.count()
    assert str(caught.value) == f"no answer from {address} in time"


def test_a_key_is_not_shown() -> None:
    assert "secret" not in repr(Tls(private_key=b"secret"))


@pytest.mark.parametrize(
    "given", ["example.com:1", "10.0.0.7", "dns:///example.com:50051", "ipv4:127.0.0.1:1,10.0.0.1:1"]
)
def test_a_token_does_not_travel_in_clear(given: str) -> None:
    for kind in (Client, AsyncClient):
        with pytest.raises(InvalidArgument, match=r"token: would travel to .* without encryption") as caught:
            kind(given, token="s3cret")
        assert "s3cret" not in str(caught.value)
    Client(given, token="s3cret", tls=Tls())


@pytest.mark.parametrize(
    "given",
    [
        "localhost:1",
        "127.0.0.1:1",
        "127.9.9.9:1",
        "[::1]:1",
        "unix:/run/x",
        "dns:///localhost:1",
        "ipv4:127.0.0.1:5",
        "ipv6:[::1]:5",
    ],
)
def test_on_this_machine_a_token_needs_no_encryption(given: str) -> None:
    assert is_local(given)
    Client(given, token="s3cret")


@pytest.mark.parametrize("client", [Client("localhost:1"), AsyncClient("localhost:1")])
@pytest.mark.parametrize("act", [pickle.dumps, copy.copy, copy.deepcopy])
def test_a_client_is_not_copied(client: object, act: Callable[[object], object]) -> None:
    with pytest.raises(TypeError, match="make one in the process that uses it"):
        act(client)


def test_a_closed_client_raises_what_all_calls_raise() -> None:
    client = Client("localhost:1", retries=False)
    with pytest.raises(Unavailable):
        client.count()
    client.close()
    with pytest.raises(UnusableClient, match="closed"):
        client.count()
    assert issubclass(UnusableClient, TocsinError)


async def test_a_client_of_another_loop_says_so(address: str) -> None:
    async with AsyncClient(address) as client:
        await client.schedule("x")

        def elsewhere() -> None:
            asyncio.run(client.count())

        with pytest.raises(UnusableClient, match="belongs to another event loop"):
            await asyncio.to_thread(elsewhere)


async def test_a_client_follows_from_a_closed_loop_to_the_next(address: str) -> None:
    client = AsyncClient(address)

    async def use() -> None:
        await asyncio.gather(*[client.schedule("x") for _ in range(5)])

    def one_after_the_other() -> None:
        for _ in range(5):
            asyncio.run(use())
        asyncio.run(client.close())

    await asyncio.to_thread(one_after_the_other)


def test_a_job_as_a_dict_is_plain_json() -> None:
    message = job_pb2.Job(queue="q", job_id="a", state=job_pb2.Job.WAITING, revision=2**40)
    message.create_time.FromDatetime(datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))
    message.spec.type = "x"
    message.spec.data.update({"n": 20, "list": [1, 2.5, None]})
    message.spec.retry.initial_delay.FromTimedelta(timedelta(seconds=2))
    message.errors.add(attempt=1, type="ValueError", message="no")
    shown = json.loads(json.dumps(Job(message, View.FULL).to_dict()))
    assert shown["payload"] == {"n": 20, "list": [1, 2.5, None]}
    assert (shown["state"], shown["revision"], shown["create_time"]) == ("WAITING", 2**40, "2026-01-02T03:04:05Z")
    assert shown["retry"]["initial_delay"] == 2.0
    assert shown["errors"][0]["type"] == "ValueError"
    assert "payload" not in Job(message).to_dict()


PROXIES = {"http_proxy": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9", "grpc_proxy": "http://127.0.0.1:9"}


async def test_a_proxy_is_not_asked_for_what_is_on_this_machine(address: str) -> None:
    code = "import sys; from tocsin import Client; Client(sys.argv[1]).schedule('x', deadline=5)"
    process = await asyncio.create_subprocess_exec(sys.executable, "-W", "ignore", "-c", code, address, env=PROXIES)
    assert await process.wait() == 0
