"""Agenda's collection, opened to be read."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tocsin_server.domain import limits
from tocsin_server.migrate.agenda.fields import quoted
from tocsin_server.migrate.agenda.names import fits
from tocsin_server.migrate.agenda.reading import AgendaQueue
from tocsin_server.migrate.agenda.source import Source
from tocsin_server.migrate.foreign import Choices, ForeignQueue, SourceAway

#: Agenda's own name for it.
DEFAULT_COLLECTION = "agendaJobs"


@asynccontextmanager
async def open_agenda(
    url: str, choices: Choices, *, collection: str = DEFAULT_COLLECTION, queue: str = limits.DEFAULT_QUEUE
) -> AsyncIterator[ForeignQueue]:
    """A reader of Agenda 4, 5, 6 (with its MongoDB backend) and @hokify/agenda.

    Agenda has no queues: all jobs are for `queue`; choices.queues is not asked. SourceAway, also where that cannot be
    the name of a queue.
    """
    if not fits(queue):
        raise SourceAway(f"{quoted(queue)} cannot be a queue: a name has 1 to 100 characters of A-Z a-z 0-9 . _ -")
    source = Source(url, collection)
    try:
        await source.open()
        yield AgendaQueue(source, choices, queue)
    finally:
        await source.close()
