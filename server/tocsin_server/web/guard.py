"""What is around every page: the path below a proxy, who may be asked for, what a browser may do with an answer."""

from __future__ import annotations

import ipaddress
import re
import secrets
from collections.abc import Sequence
from contextlib import suppress
from time import perf_counter
from urllib.parse import parse_qs, urlsplit

from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

CSRF_COOKIE, CSRF_FIELD = "tocsin_csrf", "csrf"
#: Letters of the random word in both; shorter ones are none of ours.
CSRF_LETTERS = 32
SESSION_COOKIE = "tocsin_session"

#: A Host header that says where: a name or an address, and a port.
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]*)(:[0-9]{0,5})?\Z")

#: Bytes of a form.
_FORM_BYTES = 64 << 10

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; frame-src 'self'; base-uri 'none'; frame-ancestors 'none'"
)
#: For what others wrote, mails and reports: shown in a frame, where nothing of it runs or is fetched.
FOREIGN_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; sandbox; base-uri 'none'; frame-ancestors 'self'"
)


class BrowserGuard:
    """Around the application. `hosts`: names by which it may be asked for besides localhost and addresses; None: all
    names."""

    def __init__(self, app: ASGIApp, root_path: str, hosts: Sequence[str] | None) -> None:
        self._app = app
        self._root = root_path
        self._hosts = None if hosts is None else {host.lower() for host in hosts}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As ASGI has it."""
        if scope["type"] != "http":
            return
        path: str = scope["path"]
        if self._root and (path == self._root or path.startswith(f"{self._root}/")):
            path = path[len(self._root) :] or "/"
        scope = {**scope, "path": path, "raw_path": path.encode(), "root_path": ""}
        headers = _headers(scope)
        if (refusal := self._refusal(headers)) is not None:
            await _refuse(send, *refusal)
            return

        begun = perf_counter()

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                took = f"page;dur={(perf_counter() - begun) * 1000:.1f}".encode()
                message["headers"] = [*message["headers"], (b"server-timing", took)]
                given = {name.lower() for name, _ in message["headers"]}
                message["headers"] = [
                    *message["headers"],
                    *(one for one in _answer_headers(path) if one[0] not in given),
                ]
            await send(message)

        with suppress(ClientDisconnect):  # in the middle of a form: nobody is there to be answered
            await self._app(scope, receive, guarded)

    def _refusal(self, headers: dict[str, str]) -> tuple[int, str] | None:
        host = headers.get("host", "")
        if not _HOST.match(host):  # addresses of ours are made with it, and could not be read
            return 400, "the header Host names no host\n"
        if self._hosts is not None and not _is_own(host, self._hosts):
            name = host[:100]
            return 421, f"this dashboard is not asked for as {name!r}: have the name added to web.hosts\n"
        return None


def from_here(request: Request) -> bool:
    """Whether a form was sent by a page of ours, as far as the browser tells."""
    if (site := request.headers.get("sec-fetch-site")) is not None:
        return site == "same-origin"
    if (origin := request.headers.get("origin")) is None:
        return False
    try:
        host = urlsplit(origin).netloc.lower()
    except ValueError:
        return False
    own = (request.headers.get("host", "").lower(), request.headers.get("x-forwarded-host", "").lower())
    return bool(host) and host in own


async def form_of(request: Request) -> dict[str, str] | None:
    """The fields of a form that a page of ours sent; None: it was not. Of several of one name the last."""
    raw = bytearray()
    async for part in request.stream():
        raw += part
        if len(raw) > _FORM_BYTES:
            return None
    fields = {name: values[-1] for name, values in parse_qs(raw.decode("utf-8", "replace"), True).items()}
    cookie = request.cookies.get(CSRF_COOKIE, "")
    word = fields.pop(CSRF_FIELD, "")
    known = len(cookie) >= CSRF_LETTERS and secrets.compare_digest(cookie.encode(), word.encode())
    return fields if known and from_here(request) else None


def over_tls(request: Request) -> bool:
    """Whether the browser speaks TLS. A proxy may say so: believed, it makes cookies stricter and nothing else."""
    return request.url.scheme == "https" or request.headers.get("x-forwarded-proto", "").lower() == "https"


def _headers(scope: Scope) -> dict[str, str]:
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}


def _is_own(host: str, known: set[str]) -> bool:
    name = urlsplit(f"//{host}").hostname or ""
    if name == "localhost" or name in known or host.lower() in known:
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _answer_headers(path: str) -> list[tuple[bytes, bytes]]:
    given = {
        "content-security-policy": _POLICY,
        "x-content-type-options": "nosniff",
        "x-frame-options": "SAMEORIGIN" if path.endswith("/body") else "DENY",
        "referrer-policy": "same-origin",
        "cross-origin-opener-policy": "same-origin",
        "cross-origin-resource-policy": "same-origin",
        "cache-control": "no-store",
    }
    return [(name.encode(), value.encode()) for name, value in given.items()]


async def _refuse(send: Send, status: int, text: str) -> None:
    body = text.encode()
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": [*headers, *_answer_headers("")]})
    await send({"type": "http.response.body", "body": body})
