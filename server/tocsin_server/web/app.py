"""The application: which address is which page, who is let in, and what is said of what went wrong."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import partial

import structlog
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route
from tocsin import InvalidArgument, NotFound, PermissionDenied, TocsinError, Unauthenticated

from tocsin_server.web.calling import Visitor, is_away
from tocsin_server.web.guard import form_of
from tocsin_server.web.live import LOG_IN, TooManyStreams
from tocsin_server.web.login import NOBODY, Entrance
from tocsin_server.web.pages import (
    bulk,
    failed,
    folders,
    job,
    job_actions,
    jobs,
    overview,
    queue_limits,
    queues,
    reminders,
    schedules,
    workers,
)
from tocsin_server.web.rendering import StaticFiles
from tocsin_server.web.visit import Site, Visit

_log: structlog.typing.FilteringBoundLogger = structlog.get_logger("tocsin.server")

Page = Callable[[Visit], Awaitable[Response]]

_PAGES: Mapping[str, Page] = {
    "/": overview.overview,
    "/queues": queues.queues,
    "/queue": queues.queue,
    "/jobs": jobs.jobs,
    "/job": job.job,
    "/failed": failed.failed,
    "/bulk": bulk.bulk,
    "/schedules": schedules.schedules,
    "/schedule": schedules.schedule,
    "/workers": workers.workers,
    "/reminders": reminders.reminders,
    "/outbox": folders.outbox,
    "/outbox/message": folders.message,
    "/outbox/message/body": folders.message_body,
    "/reports": folders.reports,
    "/reports/report": folders.report,
    "/reports/report/body": folders.report_body,
}
_LIVE: Mapping[str, Callable[[Visit], Awaitable[str]]] = {
    "/live/overview": overview.draw_overview,
    "/live/queues": queues.draw_queues,
    "/live/queue": queues.draw_queue,
    "/live/job": job.draw_job,
    "/live/workers": workers.draw_workers,
}
_FORMS: Mapping[str, Page] = {
    "/queue/pause": queues.pause,
    **{f"/queue/{name}": partial(queues.drain_or_resume, do=name) for name in ("drain", "resume")},
    "/queue/limit": partial(queue_limits.set_limit, show=queues.queue),
    "/queue/no-limit": partial(queue_limits.take_limit, show=queues.queue),
    "/queue/turns": partial(queue_limits.set_turns, show=queues.queue),
    "/bulk/act": bulk.act,
    "/reminders/cancel": reminders.cancel,
    **{f"/schedule/{name}": partial(schedules.act, do=name) for name in ("trigger", "pause", "resume")},
    **{f"/job/{name}": partial(job_actions.act, name=name, show=job.job) for name in job_actions.KINDS},
}

_STREAM = {"X-Accel-Buffering": "no", "Cache-Control": "no-store"}


class Application:
    """Makes the application of a site."""

    def __init__(self, site: Site, login: Entrance, static: StaticFiles) -> None:
        self._site = site
        self._login = login
        self._static = static

    def app(self) -> Starlette:
        """The application, for one event loop."""
        return Starlette(
            routes=[
                *(Route(path, self._page(page)) for path, page in _PAGES.items()),
                *(Route(path, self._stream(draw)) for path, draw in _LIVE.items()),
                *(Route(path, self._form(act), methods=["POST"]) for path, act in _FORMS.items()),
                Route("/login", self._login.show),
                Route("/login", self._login.enter, methods=["POST"]),
                Route("/logout", self._login.leave, methods=["POST"]),
                Route("/static/{name}", self._file),
            ],
            exception_handlers={404: self._not_found, 405: self._not_found},
        )

    def _page(self, page: Page) -> Callable[[Request], Awaitable[Response]]:
        async def answer(request: Request) -> Response:
            return await self._answered(request, page, None)

        return answer

    def _form(self, act: Page) -> Callable[[Request], Awaitable[Response]]:
        async def answer(request: Request) -> Response:
            fields = await form_of(request)
            if fields is None:
                text = "Nothing was done: the form did not come from a page of this dashboard, or cookies are off."
                return self._refused(request, NOBODY, 403, text)
            return await self._answered(request, act, fields)

        return answer

    def _stream(self, draw: Callable[[Visit], Awaitable[str]]) -> Callable[[Request], Awaitable[Response]]:
        async def answer(request: Request) -> Response:
            try:
                self._site.live.check_room()  # first: whoever is refused comes again and again
                visitor = await self._login.visitor(request)
                if visitor is None:  # in words that scripts hear: of an answer that is no stream they are told nothing
                    return Response(LOG_IN, media_type="text/event-stream", headers=_STREAM)
            except TocsinError as error:
                return PlainTextResponse(f"{error.message}\n", 503)
            except TooManyStreams:
                return PlainTextResponse("too many pages are kept up to date\n", 503)
            visit = Visit(self._site, request, visitor)
            key = f"{visitor.key} {request.url.path}?{request.url.query}"
            events = self._site.live.watch(key, partial(draw, visit))
            return StreamingResponse(events, media_type="text/event-stream", headers=_STREAM)

        return answer

    async def _answered(self, request: Request, page: Page, fields: Mapping[str, str] | None) -> Response:
        visitor = NOBODY
        try:
            found = await self._login.visitor(request)
            if found is None:
                return RedirectResponse(self._site.templates.url("/login"), 303)
            visitor = found
            return await page(Visit(self._site, request, visitor, fields))
        except Unauthenticated:
            return RedirectResponse(self._site.templates.url("/login"), 303)
        except NotFound as error:
            return self._refused(request, visitor, 404, error.message)
        except PermissionDenied as error:
            return self._refused(request, visitor, 403, error.message)
        except InvalidArgument as error:
            return self._refused(request, visitor, 400, error.message)
        except TocsinError as error:
            return self._refused(request, visitor, 503 if is_away(error) else 502, error.message)
        except Exception:
            _log.exception("dashboard_failed", path=request.url.path)
            return self._refused(request, visitor, 500, "A fault of the dashboard: the server's log has more.")

    def _refused(self, request: Request, visitor: Visitor, status: int, text: str) -> Response:
        visit = Visit(self._site, request, visitor)
        titles = {404: "Not found", 403: "Not allowed", 400: "Not understood", 503: "The store does not answer"}
        return visit.page("refused.html", titles.get(status, "Refused"), status=status, text=text, code=status)

    async def _not_found(self, request: Request, _: Exception) -> Response:
        return self._refused(request, NOBODY, 404, "There is no such page here.")

    async def _file(self, request: Request) -> Response:
        found = self._static.get(request.path_params["name"])
        if found is None:
            return PlainTextResponse("not found\n", 404)
        content, kind = found
        return Response(content, headers={"Content-Type": kind, "Cache-Control": "public, max-age=31536000, immutable"})
