"""Walks over all pages of a list, one at a time, as far as the caller reads."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from tocsin import _calls, _queue_calls, workers
from tocsin._connection import Connection
from tocsin._times import Span
from tocsin.errors import InvalidArgument
from tocsin.jobs import Job
from tocsin.queues import Queue
from tocsin.requests import ListOptions

_DEFAULT_PAGE = 50
_LARGEST_PAGE = 1000

#: Pages of workers, beside those of jobs and queues below.
worker_pages = workers.pages


async def job_pages(
    connection: Connection, options: ListOptions, limit: int | None, deadline: Span | None
) -> AsyncGenerator[list[Job], None]:
    """Pages of jobs, `limit` jobs in all. A page may be empty and not the last. `deadline` is each page's."""
    if limit is not None and limit < 0:
        raise InvalidArgument.of("limit", f"is {limit}; it must be 0 or more")
    token, left = "", limit
    wanted = options.get("page_size") or _DEFAULT_PAGE
    while left is None or left > 0:
        if left is not None and left < wanted <= _LARGEST_PAGE:
            options = {**options, "page_size": left}
        page = await connection.invoke(_calls.list_page(options, token), deadline)
        jobs = page.jobs if left is None else page.jobs[:left]
        left = None if left is None else left - len(jobs)
        yield jobs
        token = page.next_page_token
        if not token:
            return


async def queue_pages(
    connection: Connection, page_size: int, deadline: Span | None
) -> AsyncGenerator[list[Queue], None]:
    """Pages of queues, by name."""
    token = ""
    while True:
        page = await connection.invoke(_queue_calls.list_page(page_size, token), deadline)
        yield page.queues
        token = page.next_page_token
        if not token:
            return
