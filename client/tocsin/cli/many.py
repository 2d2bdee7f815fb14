"""`tocsin jobs cancel`, `retry`, `run` and `delete`: one job, several, or all that match a filter; and what is done to
all that match alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Annotated, Any

import typer

from tocsin.cli import bulk, json_lines, options, parsing, printing
from tocsin.cli.connecting import Address, AsJson, complain, connected
from tocsin.cli.option_groups import takes
from tocsin.enums import State
from tocsin.errors import TocsinError
from tocsin.jobs import Job


@takes(bulk.FilterFlags)
def cancel(
    job_ids: options.JobIds = None,
    reason: options.Reason = "",
    grace: Annotated[
        timedelta | None, typer.Option(parser=parsing.span, metavar="SPAN", help="How long a running job may take.")
    ] = None,
    queue: options.QueueName = "default",
    address: Address = None,
    json: AsJson = False,
    **given: Any,
) -> None:
    """Cancel jobs, by their ids or all that match. Those that run are asked to stop."""
    if not (ids := _ids(job_ids, given)):
        bulk.act("cancel", given, queue, address, json, reason=reason, grace=grace)
        return
    with connected(address) as client:
        if len(ids) == 1:
            job = client.cancel(ids[0], queue=queue, reason=reason, grace=grace)
            show(job, _cancelled(job), json)
        else:
            results = client.cancel_many(ids, queue=queue, reason=reason, grace=grace).results
            _show_each(results, json, _cancelled)


@takes(bulk.FilterFlags)
def retry(
    job_ids: options.JobIds = None,
    queue: options.QueueName = "default",
    address: Address = None,
    json: AsJson = False,
    **given: Any,
) -> None:
    """Make failed or cancelled jobs due again, by their ids or all that match: --state failed --type charge_card."""
    if not (ids := _ids(job_ids, given)):
        bulk.act("retry", given, queue, address, json)
        return
    with connected(address) as client:
        if len(ids) == 1:
            show(client.retry(ids[0], queue=queue), "due again", json)
        else:
            _show_each(client.retry_many(ids, queue=queue).results, json, lambda _: "due again")


@takes(bulk.FilterFlags)
def run(
    job_ids: options.JobIds = None,
    queue: options.QueueName = "default",
    address: Address = None,
    json: AsJson = False,
    **given: Any,
) -> None:
    """Make scheduled jobs due now, by their ids or all that match."""
    if not (ids := _ids(job_ids, given)):
        bulk.act("run", given, queue, address, json)
        return
    refused = False
    with connected(address) as client:
        if len(ids) == 1:
            show(client.run(ids[0], queue=queue), "due now", json)
            return
        for job_id in ids:
            try:
                show(client.run(job_id, queue=queue), "due now", json)
            except TocsinError as error:
                refused = complain(error)
    if refused:
        raise typer.Exit(1)


@takes(bulk.FilterFlags)
def delete(
    job_ids: options.JobIds = None,
    queue: options.QueueName = "default",
    address: Address = None,
    json: AsJson = False,
    **given: Any,
) -> None:
    """Delete jobs that have ended, by their ids or all that match. Their ids are free at once."""
    if not (ids := _ids(job_ids, given)):
        bulk.act("delete", given, queue, address, json)
        return
    with connected(address) as client:
        if len(ids) == 1:
            client.delete(ids[0], queue=queue)
            _show_deleted(ids[0], json)
            return
        refused = False
        for job_id, error in zip(ids, client.delete_many(ids, queue=queue).results, strict=True):
            if error is None:
                _show_deleted(job_id, json)
            else:
                refused = complain(error)
    if refused:
        raise typer.Exit(1)


@takes(bulk.FilterFlags)
def retime(
    to: Annotated[datetime | None, typer.Option(parser=parsing.time, metavar="TIME", help="Due at this time.")] = None,
    by: Annotated[
        timedelta | None,
        typer.Option(parser=parsing.offset, metavar="SPAN", help="Due so much later; --by=-1h: so much earlier."),
    ] = None,
    queue: options.QueueName = "default",
    address: Address = None,
    json: AsJson = False,
    **given: Any,
) -> None:
    """Change when all pending jobs are due that match."""
    if (to is None) is (by is None):
        raise typer.BadParameter("give --to or --by")
    bulk.act("retime", given, queue, address, json, to=to, by=by)


@takes(bulk.FilterFlags)
def move(
    target: Annotated[str, typer.Argument(metavar="TARGET", help="The queue that they go to.")],
    queue: options.QueueName = "default",
    address: Address = None,
    json: AsJson = False,
    **given: Any,
) -> None:
    """Move all jobs that match to another queue: those that wait or are scheduled, or have ended in a --state."""
    bulk.act("move", given, queue, address, json, target=target)


@takes(bulk.FilterFlags)
def prioritize(
    priority: Annotated[
        int,
        typer.Argument(parser=parsing.priority, metavar="PRIORITY", help="N, low, normal or high: higher runs first."),
    ],
    queue: options.QueueName = "default",
    address: Address = None,
    json: AsJson = False,
    **given: Any,
) -> None:
    """Change the priority of all pending jobs that match."""
    bulk.act("priority", given, queue, address, json, priority=priority)


def show(job: Job, did: str, json: bool) -> None:
    """What became of one job."""
    if json:
        json_lines.print_job_json(job)
    else:
        printing.print_outcome(job, did)


def _ids(job_ids: list[str] | None, given: Mapping[str, Any]) -> list[str]:
    """The ids that were given; none where a filter was."""
    if job_ids and (set(given) - {"yes"}):
        raise typer.BadParameter("give ids of jobs, or a filter (--state, --type, --dry-run, ...), not both")
    if not job_ids and not bulk.is_filter(given):
        raise typer.BadParameter("give ids of jobs, or a filter: --state, --type, --tag, ... or --all")
    return job_ids or []


def _cancelled(job: Job) -> str:
    return "cancelled" if job.state is State.CANCELLED else "asked to stop"


def _show_each(results: Sequence[Job | TocsinError], json: bool, did: Callable[[Job], str]) -> None:
    """A line for each; those refused are told on standard error, and then the exit code is 1."""
    refused = False
    for result in results:
        if isinstance(result, Job):
            show(result, did(result), json)
        else:
            refused = complain(result)
    if refused:
        raise typer.Exit(1)


def _show_deleted(job_id: str, json: bool) -> None:
    if json:
        json_lines.print_json_line({"jobId": job_id, "deleted": True})
    else:
        printing.print_line(f"deleted {job_id}")
