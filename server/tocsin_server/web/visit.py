"""A request of somebody who is let in: what a page function is given, and what it answers by."""

from __future__ import annotations

import secrets
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from time import time
from typing import Any

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from tocsin.v1 import server_service_pb2

from tocsin_server.web.calling import Backend, Visitor
from tocsin_server.web.commands import Commands
from tocsin_server.web.guard import CSRF_COOKIE, CSRF_LETTERS, over_tls
from tocsin_server.web.live import Live
from tocsin_server.web.rendering import PageTemplates


@dataclass(frozen=True, slots=True)
class Site:
    """What all pages share."""

    backend: Backend
    templates: PageTemplates
    live: Live
    commands: Commands
    login: bool  # whether somebody has to log in
    root_path: str
    outboxes: tuple[Path, ...]  # folders that mails and text messages are written to
    reports: Path  # the folder of reports


@dataclass(slots=True)
class Visit:
    """One request."""

    site: Site
    request: Request
    visitor: Visitor
    fields: Mapping[str, str] | None = None  # of the form that was sent

    @property
    def backend(self) -> Backend:
        """The API."""
        return self.site.backend

    @property
    def info(self) -> server_service_pb2.GetServerInfoResponse:
        """The server's info."""
        return self.visitor.info or server_service_pb2.GetServerInfoResponse()

    async def ask(self, method: Callable[..., Any], request: Any) -> Any:
        """The answer of an RPC, in the visitor's name. Raises what `tocsin` raises."""
        return await self.visitor.ask(method, request)

    def follow(self, method: Callable[..., Any], request: Any) -> AsyncGenerator[Any, None]:
        """The answers of one that streams them. Raises the same."""
        return self.visitor.follow(method, request)

    def query(self, name: str) -> str:
        """A field of the address, "" where it is not there."""
        return self.request.query_params.get(name, "").strip()

    def field(self, name: str) -> str:
        """A field of the form that was sent, "" where it is not there."""
        return (self.fields or {}).get(name, "").strip()

    def draw(self, template: str, **context: Any) -> str:
        """A part of a page."""
        return self.site.templates.render(template, {"visitor": self.visitor, "cmd": self.site.commands, **context})

    def page(self, template: str, title: str, *, status: int = 200, **context: Any) -> Response:
        """A whole page."""
        cookie = self.request.cookies.get(CSRF_COOKIE, "")
        csrf = cookie if len(cookie) >= CSRF_LETTERS else secrets.token_urlsafe(CSRF_LETTERS)
        html = self.draw(
            template,
            title=title,
            csrf=csrf,
            now=int(time() * 1000),
            said=self.query("said"),
            said_number=_number(self.query("n")),
            said_left=_number(self.query("left")),
            said_bulk=self.query("bulk"),
            login=self.site.login,
            info=self.info,
            outbox=bool(self.site.outboxes),
            here=self.request.url.path,
            **{"trouble": "", **context},
        )
        answer = HTMLResponse(html, status)
        if csrf != cookie:
            answer.set_cookie(
                CSRF_COOKIE,
                csrf,
                path=self.site.root_path or "/",
                httponly=True,
                samesite="strict",
                secure=over_tls(self.request),
            )
        return answer

    def go(self, path: str, **query: object) -> Response:
        """Show another page, after something was done."""
        return RedirectResponse(self.site.templates.url(path, **query), 303)


def _number(text: str) -> int:
    return int(text) if text.isdecimal() and len(text) < 12 else 0
