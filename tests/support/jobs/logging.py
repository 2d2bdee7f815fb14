"""Handlers that log."""

from __future__ import annotations

import logging

from tocsin import Handlers, JobContext

handlers = Handlers()

log = logging.getLogger("a.users.own")


@handlers.on("logs")
async def logs(job: JobContext) -> None:
    """On an event loop."""
    log.info("in the handler")


@handlers.on("logs_in_a_thread")
def logs_in_a_thread(job: JobContext) -> None:
    """In a thread."""
    log.info("in the handler")
