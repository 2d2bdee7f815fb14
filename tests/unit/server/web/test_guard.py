"""What is around every page bears what browsers, and those who are none, send."""

from __future__ import annotations

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient
from tocsin_server.web.guard import CSRF_COOKIE, BrowserGuard, form_of, over_tls

WORD = "w" * 43


async def said(request: Request) -> PlainTextResponse:
    fields = await form_of(request)
    return PlainTextResponse(f"{fields} {over_tls(request)} {request.url.path}")


def client(*hosts: str) -> TestClient:
    """Asks an application that says which form it was sent, over TLS or not, and where."""
    app = Starlette(routes=[Route("/say", said, methods=["POST"])])
    return TestClient(BrowserGuard(app, "", hosts or None), "http://localhost")


@pytest.mark.parametrize("beside", ['prefs={"a": "b, c"}', 'x="', "a b=c", "=", "[]=1"])
def test_a_cookie_is_found_beside_those_that_others_set(beside: str) -> None:
    own = {"Sec-Fetch-Site": "same-origin", "Cookie": f"{beside}; {CSRF_COOKIE}={WORD}; {beside}"}
    assert client().post("/say", data={"csrf": WORD, "a": "1"}, headers=own).text == "{'a': '1'} False /say"


@pytest.mark.parametrize("known", [(), ("jobs.intranet",)], ids=["login", "names"])
@pytest.mark.parametrize("host", ["[::1", "[x]", "a b", "x/..", "x?", "x#", "u@localhost", "localhost:x", "é"])
def test_a_host_that_is_none_is_refused(host: str, known: tuple[str, ...]) -> None:
    answer = client(*known).post("/say", headers={"Host": host.encode("latin-1")})  # type: ignore[dict-item]
    assert answer.status_code == 400


@pytest.mark.parametrize("origin", ["http://[::1", "http://[x]", "//[", "http://localhost\uff03@evil"])
def test_an_origin_that_is_none_is_that_of_another_page(origin: str) -> None:
    headers = {"Origin": origin.encode(), "Cookie": f"{CSRF_COOKIE}={WORD}"}
    answer = client().post("/say", data={"csrf": WORD}, headers=headers)  # type: ignore[arg-type]
    assert answer.text == "None False /say"
