"""Whatever stands in an address or a form, the answer is a page that says what is wrong, and nothing is changed."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from urllib.parse import quote

import pytest
from support.dashboard import FORMS, PAGES, WEB, Visitor, dashboard_of
from support.redis_backend import RedisBackend
from support.servers import Server
from support.stores import store_settings
from tocsin import AlreadyExists, Client

STRANGE = (
    "", " ", "\0", "é", "<script>alert(1)</script>", "../../etc/passwd", "x" * 2_000, "-1", "99999999999999999999", "*",
    "a=b,c", "=", "0001-01-01", "9999-12-31T23:59:59-23:59", "10000000d", "\ud7ff", "%00", "{{7*7}}",
    "a\r\nSet-Cookie: x=1",
)  # fmt: skip
FIELDS = (
    "queue", "id", "state", "type", "tag", "time", "from", "to", "page", "count", "after", "do", "kind", "name", "said",
    "n", "left", "bulk",
)  # fmt: skip


OF_FORMS = (
    "when", "reason", "token", "until", "was", "scope", "max_active", "jobs", "per", "burst", "on_full", "turns",
)  # fmt: skip


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One for all tests: whatever stands in its store by then, each has to be answered."""
    folder = tmp_path_factory.mktemp("strange")
    mail = {"TOCSIN_MAIL__TRANSPORT": f"file:{folder / 'outbox'}"}
    with RedisBackend(folder / "redis") as redis:
        server = Server(folder, ["--no-dispatch"], {**store_settings(redis.url), **WEB, **mail})
        try:
            yield server.start()
        finally:
            server.kill()


@pytest.fixture
def visitor(server: Server) -> Iterator[Visitor]:
    """A new one, who finds a job and a schedule."""
    with Client(server.address) as client:
        with contextlib.suppress(AlreadyExists):  # it stands, unless a form of another test took it away
            client.schedule("echo", {}, queue="mail", job_id="dead-1", delay=3600)
        with contextlib.suppress(AlreadyExists):
            client.schedules.create("pay-day", queue="mail", every=86_400, type="echo")
    with Visitor(dashboard_of(server)) as made:
        yield made
    assert "dashboard_failed" not in server.said(1_000_000)
    assert "Traceback" not in server.said(1_000_000)


@pytest.mark.parametrize("value", STRANGE, ids=range(len(STRANGE)))
def test_strange_words_in_addresses_and_forms(visitor: Visitor, value: str) -> None:
    pages = sorted({page.partition("?")[0] for page in PAGES} | {"/outbox/message", "/reports/report/body"})
    for page in pages:
        asked = [f"{name}={quote(value, safe='')}" for name in FIELDS]
        kept = page + "?queue=mail&id=dead-1&"
        alone = [one for one in asked if one.partition("=")[0] in ("queue", "id", "page", "from", "tag", "name")]
        for query in ("&".join(asked), *alone):
            answer = visitor.get(kept + query)
            assert answer.status_code in (200, 303, 400, 404), (page, query, answer.text[:300])
            assert "set-cookie: x=1" not in str(answer.headers).lower()
            assert "<script>alert" not in answer.text
            assert ">49<" not in answer.text
    for form in FORMS:
        answer = visitor.send(form, **dict.fromkeys((*FIELDS, *OF_FORMS), value))
        assert answer.status_code in (303, 400, 404, 409), (form, answer.text[:300])


def test_bodies_that_are_no_forms(visitor: Visitor) -> None:
    own = {"Sec-Fetch-Site": "same-origin"}
    for body in (b"\xff\xfe\x00", b"csrf=" + b"x" * 100_000, b"csrf=%ff%fe&queue=mail", b"=&=&==", b"csrf=\xc3\xa9"):
        for cookie in ("", "tocsin_csrf=\xe9", "tocsin_csrf=x; tocsin_csrf=y", "=;;=", 'tocsin_csrf="'):
            headers = {**own, "Cookie": cookie.encode("latin-1")}
            answer = visitor.http.post(visitor.at + "/job/run", content=body, headers=headers)
            assert answer.status_code == 403


def test_whoever_leaves_in_the_middle_of_a_form_is_no_fault(visitor: Visitor) -> None:
    host, _, port = visitor.at.partition("//")[2].rpartition(":")
    for form in ("/job/run", "/login", "/logout"):
        head = f"POST {form} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 1000\r\n\r\n"
        with socket.create_connection((host, int(port)), timeout=10) as link:
            link.sendall(head.encode() + b"csrf=x")
            link.shutdown(socket.SHUT_WR)
            assert b"Traceback" not in link.recv(10_000)  # it is taken note of before this ends
    assert visitor.get("/").status_code == 200


@pytest.mark.parametrize("name", ["Host", "Origin"])
def test_headers_that_name_nothing(visitor: Visitor, name: str) -> None:
    for value in ("http://[::1", "[::1", "é"):
        answer = visitor.http.post(visitor.at + "/job/run", headers={name: value.encode("latin-1")})
        assert answer.status_code in (400, 403), value
