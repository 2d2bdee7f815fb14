"""Logging in, by the token that the API takes, and out again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from tocsin import TocsinError, Unauthenticated

from tocsin_server.web.calling import Backend, Visitor, is_away
from tocsin_server.web.guard import SESSION_COOKIE, form_of, over_tls
from tocsin_server.web.visit import Site, Visit

if TYPE_CHECKING:  # 8 MB, which servers without a login need not spend
    from tocsin_server.web.sealing import Seal

#: Bytes of a token: a JWT has some 1,000. A cookie may have 4,096 in all.
_MOST_BYTES = 2_800

#: Somebody of whom nothing is known yet.
NOBODY = Visitor(None, "", frozenset(), False, ())


class Entrance:
    """Who shows which token, by a cookie. `seal` is None where nobody has to log in."""

    def __init__(self, site: Site, seal: Seal | None) -> None:
        self._site = site
        self._seal = seal

    @property
    def _backend(self) -> Backend:
        return self._site.backend

    async def visitor(self, request: Request) -> Visitor | None:
        """Who asks; None: they have to log in. Raises what `tocsin` raises."""
        if self._seal is None:
            return await self._backend.caller(None)
        cookie = request.cookies.get(SESSION_COOKIE, "")
        token = self._seal.opened(cookie) if cookie else None
        if token is None:
            return None
        try:
            return await self._backend.caller(token)
        except Unauthenticated:
            return None

    async def show(self, request: Request) -> Response:
        """The form. What was asked for is shown afterwards."""
        if self._seal is None:
            return RedirectResponse(self._site.templates.url("/"), 303)
        return self._page(request)

    def _page(self, request: Request, trouble: str = "", status: int = 200) -> Response:
        visit = Visit(self._site, request, NOBODY)
        return visit.page("login.html", "Log in", trouble=trouble, status=status)

    async def enter(self, request: Request) -> Response:
        """The form, sent."""
        fields = await form_of(request)
        if fields is None:
            return self._page(request, "Send the form again: it did not come from this page, or cookies are off.", 403)
        token = fields.get("token", "").strip().removeprefix("Bearer ")
        if (
            self._seal is None
            or not token
            or len(token.encode()) > _MOST_BYTES
            or not (token.isascii() and token.isprintable())
        ):
            return self._page(request, "Paste the token, as it was given to you.", 400)
        try:
            await self._backend.caller(token)
        except Unauthenticated as error:
            return self._page(request, error.message, 401)
        except TocsinError as error:
            return self._page(request, error.message, 503 if is_away(error) else 502)
        answer = RedirectResponse(self._site.templates.url("/"), 303)
        answer.set_cookie(SESSION_COOKIE, self._seal.sealed(token), **self._cookie(request))  # type: ignore[arg-type]
        return answer

    async def leave(self, request: Request) -> Response:
        """Log out: the cookie goes."""
        if await form_of(request) is None:
            return self._page(request, "You are still logged in: the form did not come from this page.", 403)
        answer = RedirectResponse(self._site.templates.url("/login"), 303)
        answer.set_cookie(SESSION_COOKIE, "", **{**self._cookie(request), "max_age": 0})  # type: ignore[arg-type]
        return answer

    def _cookie(self, request: Request) -> dict[str, object]:
        return {
            "path": self._site.root_path or "/",
            "max_age": 0 if self._seal is None else self._seal.lasts,
            "httponly": True,
            "samesite": "strict",
            "secure": over_tls(request),
        }
