"""Runs one handler with a payload in this process: no server, no store."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from tocsin.payloads import Payload, put_payload
from tocsin.v1 import job_pb2
from tocsin.worker.context import JobContext
from tocsin.worker.log_lines import Line
from tocsin.worker.registry import Handlers
from tocsin.worker.source import LeasedJob


@dataclass(slots=True)
class HandlerRun:
    """What a handler returned, and what it said meanwhile."""

    result: object = None
    progress: list[tuple[float, str]] = field(default_factory=list)
    log: list[Line] = field(default_factory=list)


def run_handler(
    handlers: Handlers,
    type: str,
    payload: Payload = None,
    *,
    attempt: int = 1,
    queue: str = "default",
    job_id: str = "test",
    tags: Mapping[str, str] | None = None,
) -> HandlerRun:
    """Call the handler of a type as a server would, and wait for its end; what it raises is raised here.

    The payload travels as it would over the wire, so what cannot be sent is refused, and a handler with a class for its
    payloads gets an object of it. An async handler runs on a loop of its own: call this from a plain test. Raises
    KeyError where the type has no handler.
    """
    handler = handlers.get(type)
    if handler is None:
        raise KeyError(f"no handler of {type!r}; there are {', '.join(sorted(handlers)) or 'none'}")
    run, now = HandlerRun(), datetime.now(UTC)
    kind, body = _as_sent(payload)
    job = LeasedJob(queue, job_id, type, attempt, b"test", kind, body, now, now, failures=attempt - 1, tags=tags or {})
    context = JobContext(job, lambda fraction, message: run.progress.append((fraction, message)), run.log.append)
    arguments = handler.arguments(context)
    if handler.is_async:
        run.result = asyncio.run(_awaited(handler.function(*arguments)))
    else:
        run.result = handler.function(*arguments)
    return run


async def _awaited(returned: object) -> object:
    return await returned if inspect.isawaitable(returned) else returned


def _as_sent(payload: Payload) -> tuple[int, bytes]:
    """Number of the payload's field in tocsin.v1.JobSpec, and its bytes."""
    spec = job_pb2.JobSpec()
    put_payload(spec, payload)
    for descriptor, value in spec.ListFields():
        return descriptor.number, value.SerializeToString()
    return 0, b""
