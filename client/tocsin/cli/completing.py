"""What a shell may complete: ids, queues and types are asked of the server, which has a second for it.

A server that is not there, or too slow, completes nothing; a shell has no place to be told why.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import typer

from tocsin.cli.connection_options import access
from tocsin.client import Client
from tocsin.enums import State
from tocsin.errors import TocsinError
from tocsin.jobs import Job
from tocsin.payloads import TYPED_PAYLOADS

_DEADLINE = 1.0
_LATEST = 200  # jobs that are looked at


def job_ids(context: typer.Context, incomplete: str) -> list[str]:
    """Ids of the queue's latest jobs."""
    return _asked(context, incomplete, lambda client, queue: [job.job_id for job in _latest(client, queue)])


def types(context: typer.Context, incomplete: str) -> list[str]:
    """The built-in types, and those of the queue's latest jobs."""
    built_in = [name for name in TYPED_PAYLOADS.values() if name.startswith(incomplete)]
    asked = _asked(context, incomplete, lambda client, queue: [job.type for job in _latest(client, queue)])
    return list(dict.fromkeys([*asked, *built_in]))


def queues(context: typer.Context, incomplete: str) -> list[str]:
    """All queues."""
    return _asked(context, incomplete, lambda client, _: [one.name for one in client.queues(deadline=_DEADLINE)])


def states(incomplete: str) -> list[str]:
    """The states of a job."""
    return [state.lower() for state in State if state.lower().startswith(incomplete.lower())]


def _latest(client: Client, queue: str) -> Iterable[Job]:
    return client.list(queue=queue, limit=_LATEST, page_size=_LATEST, deadline=_DEADLINE)


def _asked(context: typer.Context, incomplete: str, ask: Callable[[Client, str], Iterable[str]]) -> list[str]:
    try:
        with Client(context.params.get("address"), retries=False, **access()) as client:
            found = dict.fromkeys(ask(client, context.params.get("queue") or "default"))
    except (TocsinError, ValueError):
        return []
    return [one for one in found if one.startswith(incomplete) and one.isprintable()]
