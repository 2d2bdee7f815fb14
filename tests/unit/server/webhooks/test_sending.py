"""Requests over real connections: to the address that was checked, by the name; and what can go wrong with answers."""

from __future__ import annotations

import shutil
import ssl
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path

import pytest
from support.http_target import HttpTarget, Reply, http_target
from support.mail_server import certificate
from tocsin_server.domain.http_requests import web_address
from tocsin_server.webhooks.errors import AddressRefused, NameUnknown, NoAnswer, Unreachable
from tocsin_server.webhooks.guard import Guard
from tocsin_server.webhooks.sending import ANSWER_BYTES, Caller, OutgoingCall

needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not on PATH")


@pytest.fixture
def target() -> Iterator[HttpTarget]:
    with http_target() as target:
        yield target


@pytest.fixture
def localhost(tmp_path: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Of a server that is called localhost, and of a client that trusts it."""
    cert, served = certificate(tmp_path)
    return served, ssl.create_default_context(cafile=str(cert))


class Resolver:
    """Gives the next of its answers each time; the last one again and again."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    async def __call__(self, host: str) -> Sequence[str]:
        self.asked.append(host)
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


def caller(resolve: Resolver | None = None, *, tls: ssl.SSLContext | None = None, allow: str = "127.0.0.0/8") -> Caller:
    return Caller(Guard([allow] if allow else [], resolve=resolve), tls)


def call(
    url: str, method: str = "POST", body: bytes = b"", headers: Mapping[str, str] | None = None, seconds: float = 10
) -> OutgoingCall:
    return OutgoingCall(method, web_address(url), headers or {}, body, timedelta(seconds=seconds))


async def test_a_request_arrives_as_it_was_asked_for(target: HttpTarget) -> None:
    target.replies.append(Reply(201, {"a": 1}, {"X-Seen": "yes"}))
    url = f"{target.url}/a/../b%2f?q=%20&r"
    answer = await caller().send(call(url, "PATCH", b"\x00body", {"X-Team": "a"}))
    assert (answer.status, answer.body, answer.headers["x-seen"]) == (201, b'{"a": 1}', "yes")
    [received] = target.received
    assert (received.method, received.path, received.body) == ("PATCH", "/a/../b%2f?q=%20&r", b"\x00body")
    assert received.headers["x-team"] == "a"
    assert received.headers["accept-encoding"] == "identity"
    assert received.headers["user-agent"].startswith("tocsin/")


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE"])
async def test_methods_without_a_body_say_nothing_of_one(target: HttpTarget, method: str) -> None:
    answer = await caller().send(call(target.url, method))
    assert (answer.status, answer.body) == (200, b"")
    assert not {"content-length", "transfer-encoding"} & target.received[0].headers.keys()


async def test_a_name_is_looked_up_once_a_request_and_the_host_header_has_it(target: HttpTarget) -> None:
    resolve = Resolver(["127.0.0.1"])
    sender = caller(resolve)
    for _ in range(2):
        await sender.send(call(f"http://hooks.example:{target.port}/"))
    assert resolve.asked == ["hooks.example"] * 2
    assert {received.headers["host"] for received in target.received} == {f"hooks.example:{target.port}"}


async def test_a_name_that_changes_between_look_ups_is_connected_to_as_it_was_checked(target: HttpTarget) -> None:
    """DNS rebinding: were the name looked up again to connect, it would lead to this machine."""
    resolve = Resolver(["192.88.99.254"], ["127.0.0.1"])
    with pytest.raises((Unreachable, NoAnswer)):
        await caller(resolve, allow="192.88.99.0/24").send(call(f"http://rebound.example:{target.port}/", seconds=0.3))
    assert resolve.asked == ["rebound.example"]
    with pytest.raises(AddressRefused):
        await caller(resolve, allow="192.88.99.0/24").send(call(f"http://rebound.example:{target.port}/"))
    assert target.received == []


async def test_where_the_first_address_takes_nothing_the_next_is_tried(target: HttpTarget) -> None:
    sender = caller(Resolver(["127.0.0.2", "127.0.0.1"]))
    assert (await sender.send(call(f"http://two.example:{target.port}/"))).status == 200


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "localhost", "LOCALHOST."]
)
async def test_this_machine_is_refused_in_every_form(target: HttpTarget, host: str) -> None:
    with pytest.raises(AddressRefused):
        await caller(allow="").send(call(f"http://{host}:{target.port}/"))
    assert target.received == []


async def test_an_ipv6_address_is_connected_to_in_its_brackets() -> None:
    with http_target("::1") as target:
        await Caller(Guard(["::1"])).send(call(f"{target.url}/x"))
        assert target.received[0].headers["host"] == target.url.removeprefix("http://")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_not_followed(target: HttpTarget, status: int) -> None:
    target.replies.append(Reply(status, headers={"Location": f"{target.url}/other"}))
    assert (await caller().send(call(target.url))).status == status
    assert [received.path for received in target.received] == ["/"]


async def test_no_proxy_of_the_environment_is_used(target: HttpTarget, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert (await caller().send(call(target.url))).status == 200


async def test_of_a_huge_answer_no_more_is_read_than_is_kept(target: HttpTarget) -> None:
    target.replies.extend([Reply(body=b"x" * ANSWER_BYTES), Reply(body=b"x" * (ANSWER_BYTES + 1)), Reply(endless=True)])
    bodies = [(await caller().send(call(target.url))).body for _ in range(3)]
    assert [None if body is None else len(body) for body in bodies] == [ANSWER_BYTES, None, None]


@pytest.mark.parametrize("reply", [Reply(silent=True), Reply(headers={"Content-Length": "5"}, body=b"ab")])
async def test_an_answer_that_does_not_come_in_time_is_told(target: HttpTarget, reply: Reply) -> None:
    target.replies.append(reply)
    with pytest.raises(NoAnswer, match=r"did not answer within 0\.3 s"):
        await caller().send(call(target.url, seconds=0.3))


async def test_an_answer_that_breaks_off_and_no_listener_are_told(target: HttpTarget) -> None:
    target.replies.append(Reply(cut=True))
    with pytest.raises(Unreachable, match="broke off"):
        await caller().send(call(target.url))
    with http_target() as gone:
        pass
    with pytest.raises(Unreachable, match="takes no connection"):
        await caller().send(call(gone.url))


async def test_an_unknown_name_is_told() -> None:
    with pytest.raises(NameUnknown, match=r"nowhere\.example has no address"):
        await caller(Resolver([])).send(call("http://nowhere.example/"))


@needs_openssl
async def test_tls_goes_by_the_name_and_its_certificate_is_verified(
    localhost: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    served, trusting = localhost
    resolve = Resolver(["127.0.0.1"])
    with http_target(tls=served) as target:
        assert (await caller(resolve, tls=trusting).send(call(f"https://localhost:{target.port}/"))).status == 200
        for sender, host in ((caller(resolve, tls=trusting), "other.example"), (caller(resolve), "localhost")):
            with pytest.raises(Unreachable, match="has a certificate that does not hold"):
                await sender.send(call(f"https://{host}:{target.port}/"))
        assert len(target.received) == 1
