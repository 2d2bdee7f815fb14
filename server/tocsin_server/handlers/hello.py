"""The first job that a newcomer sees run: `tocsin dev` schedules one of this type."""

from __future__ import annotations

from tocsin.worker.context import JobContext
from tocsin.worker.registry import Handlers

TYPE = "tocsin.hello"


def hello_handlers() -> Handlers:
    """Handlers of the type tocsin.hello, which greets the `name` in its data."""
    handlers = Handlers()
    handlers.on(TYPE)(_hello)
    return handlers


async def _hello(job: JobContext) -> dict[str, str]:
    return {"greeting": f"Hello, {job.data.get('name', 'world')}!"}
