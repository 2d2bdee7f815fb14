"""`tocsin jobs wait`: follow one job to its end, and exit by what became of it."""

from __future__ import annotations

import asyncio
import sys
from datetime import timedelta
from enum import IntEnum

import typer

from tocsin.async_client import AsyncClient
from tocsin.cli import json_lines, options, printing
from tocsin.cli.connecting import Address, AsJson, telling
from tocsin.cli.connection_options import access
from tocsin.cli.texts import one_line, typed_span
from tocsin.enums import State
from tocsin.errors import NotFound, TocsinError
from tocsin.jobs import Job, JobChange


class WaitExit(IntEnum):
    """What the exit code says."""

    COMPLETED = 0
    FAILED = 3
    CANCELLED = 4
    NOT_ENDED = 5


def wait(
    job_id: options.JobId,
    timeout: options.Patience = None,
    queue: options.QueueName = "default",
    address: Address = None,
    json: AsJson = False,
) -> None:
    """Wait until a job has ended. Prints its result; on standard error what happens meanwhile.

    Exit code 0: it completed; 3: it failed; 4: it was cancelled; 5: it had not ended in time; 1: there is no such job.
    """
    follow(address, job_id, queue, timeout, json=json)


def follow(address: str | None, job_id: str, queue: str, timeout: timedelta | None, *, json: bool) -> None:
    """Wait for the job's end, print its result and exit by it."""
    with telling():
        job = asyncio.run(_followed(address, job_id, queue, timeout))
    if job is None:
        print(f"tocsin: {one_line(job_id)} has not ended within {typed_span(timeout or timedelta())}", file=sys.stderr)
        raise typer.Exit(WaitExit.NOT_ENDED)
    if json:
        json_lines.print_job_json(job)
    elif job.message.HasField("result"):
        print(printing.result_text(job))
    raise typer.Exit(WaitExit[job.state.name])


async def _followed(address: str | None, job_id: str, queue: str, timeout: timedelta | None) -> Job | None:
    """The job once it has ended, in view FULL; None where it has not in time."""
    try:
        async with (
            asyncio.timeout(None if timeout is None else timeout.total_seconds()),
            AsyncClient(address, **access()) as client,
        ):
            told, last = "", None
            async for change in client.watch(job_id, queue=queue):
                if (said := _said(change)) and said != told:
                    print(said, file=sys.stderr)
                    told = said
                last = None if change.deleted else change.job
            try:
                return await client.get(job_id, queue=queue)
            except NotFound:
                if last is None:
                    raise
                return last  # it ended, and was trimmed at once
    except TimeoutError as error:
        if isinstance(error, TocsinError):  # the server's, not ours
            raise
        return None


def _said(change: JobChange) -> str:
    job = change.job
    if job is None or change.deleted:
        return ""
    line = f"{one_line(job.job_id)} {job.state}"
    if job.state is State.ACTIVE:
        line += f", attempt {job.attempt}"
        if job.progress is not None:
            line += one_line(f", {job.progress.fraction:.0%} {job.progress.message}".rstrip())
    elif job.state in (State.FAILED, State.SCHEDULED) and job.errors:
        line += one_line(f": {job.errors[-1].message}")
    return line
