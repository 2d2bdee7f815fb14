"""Speaks to a dashboard as a browser does, without one: pages, forms, cookies, streams."""

from __future__ import annotations

import json
import re
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from html import unescape
from typing import Any

import httpx2

from support.servers import Server

#: What makes a server serve one, on a free port.
WEB = {"TOCSIN_WEB__LISTEN": "127.0.0.1:0", "TOCSIN_DRAIN__GRACE": "0s"}

#: Each page, and each that changes something.
PAGES = (
    "/", "/queues", "/queue?queue=mail", "/jobs?queue=mail", "/job?queue=mail&id=dead-1", "/failed?queue=mail",
    "/bulk?queue=mail&state=FAILED&do=retry", "/schedules?queue=mail", "/schedule?queue=mail&id=pay-day",
    "/workers?queue=mail",
    "/reminders?queue=mail&kind=BOOKING&id=B42", "/reports", "/outbox",
)  # fmt: skip
STREAMS = (
    "/live/overview", "/live/queues", "/live/queue?queue=mail", "/live/job?queue=mail&id=dead-1",
    "/live/workers?queue=mail",
)  # fmt: skip
FORMS = (
    "/job/retry", "/job/run", "/job/cancel", "/job/delete", "/job/retime", "/job/hold", "/job/release",
    "/queue/pause", "/queue/resume", "/queue/drain", "/queue/limit", "/queue/no-limit", "/queue/turns",
    "/bulk/act", "/schedule/trigger", "/schedule/pause", "/schedule/resume", "/reminders/cancel",
)  # fmt: skip


def dashboard_of(server: Server) -> str:
    """Where it says that its dashboard is, without the last slash."""
    lines = (line for line in server.said(400_000).splitlines() if line.startswith("{"))
    said = [line for line in map(json.loads, lines) if line.get("event") == "serving"]
    return str(said[-1]["dashboard"]).rstrip("/")


class Visitor:
    """Somebody with cookies. A context manager. `at` is a dashboard's address."""

    def __init__(self, at: str, *, ca: str | None = None, cert: tuple[str, str] | None = None, **headers: str) -> None:
        self.at = at
        context: Any = True
        if ca is not None:
            context = ssl.create_default_context(cafile=ca)
            if cert is not None:
                context.load_cert_chain(*cert)
        self.http = httpx2.Client(verify=context, follow_redirects=False, headers=headers, timeout=20, trust_env=False)

    def __enter__(self) -> Visitor:
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()

    def get(self, page: str) -> httpx2.Response:
        """A page, as it comes."""
        return self.http.get(self.at + page)

    def text(self, page: str) -> str:
        """What is in a page, which must be there."""
        answer = self.get(page)
        assert answer.status_code == 200, (page, answer.status_code, answer.text[:300])
        return str(answer.text)

    def send(self, form: str, **fields: str) -> httpx2.Response:
        """A form, sent from a page of the dashboard."""
        pages = (self.get(page).text for page in ("/login", "/queue?queue=mail"))
        found = next(filter(None, (re.search(r'name="csrf" value="([^"]+)"', page) for page in pages)), None)
        csrf = {"csrf": unescape(found[1])} if found else {}
        return self.http.post(self.at + form, data={**csrf, **fields}, headers={"Sec-Fetch-Site": "same-origin"})

    def login(self, token: str) -> httpx2.Response:
        """Log in."""
        return self.send("/login", token=token)

    @contextmanager
    def stream(self, page: str) -> Iterator[Iterator[tuple[str, str]]]:
        """The events of a page that is kept up to date, each with its data."""
        with self.http.stream("GET", self.at + page) as answer:
            assert answer.status_code == 200, answer.status_code
            yield _events(answer.iter_lines())


def _events(lines: Iterator[str]) -> Iterator[tuple[str, str]]:
    event, data = "", []
    for line in lines:
        if line.startswith("event: "):
            event = line[7:]
        elif line.startswith("data: "):
            data.append(line[6:])
        elif not line and event:
            yield event, "\n".join(data)
            event, data = "", []
