"""`tocsin jobs`: schedule, look at, change and watch jobs."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from tocsin.cli import parsing, printing
from tocsin.cli.connecting import Address, AsJson, QueueName, connected
from tocsin.enums import OnConflict, Outcome, State, View
from tocsin.jobs import Job
from tocsin.requests import RetryPolicy, ScheduleOptions

app = typer.Typer(help="Schedule jobs, look at them, change and watch them.", no_args_is_help=True)

JobId: TypeAlias = Annotated[str, typer.Argument(help="The job's id.", show_default=False)]
States: TypeAlias = Annotated[
    list[str] | None,
    typer.Option("--state", "-s", help="Only jobs in this state (scheduled, waiting, active, ...). May be repeated."),
]
Types: TypeAlias = Annotated[list[str] | None, typer.Option("--type", "-t", help="Only this type. May be repeated.")]
Tags: TypeAlias = Annotated[
    list[str] | None, typer.Option("--tag", metavar="KEY=VALUE", help="A label. May be repeated.")
]

_DID = {Outcome.CREATED: "scheduled", Outcome.KEPT: "kept", Outcome.REPLACED: "replaced"}


@app.command()
def schedule(
    type_: Annotated[str, typer.Argument(metavar="TYPE", help="Which handler runs it.", show_default=False)],
    data: Annotated[str | None, typer.Option("--data", "-d", metavar="JSON", help="Payload, a JSON object.")] = None,
    data_file: Annotated[
        Path | None, typer.Option(help="File with the payload's JSON; - is standard input.", show_default=False)
    ] = None,
    delay: Annotated[
        timedelta | None, typer.Option(parser=parsing.span, metavar="SPAN", help="Due so long from now: 3s, 1h30m.")
    ] = None,
    at: Annotated[
        datetime | None,
        typer.Option(parser=parsing.time, metavar="TIME", help="Due at this time: 2030-12-24T18:00:00Z."),
    ] = None,
    queue: QueueName = "default",
    job_id: Annotated[str, typer.Option(help="Name of the job. Default: the server makes one.")] = "",
    priority: Annotated[
        int | None,
        typer.Option(parser=parsing.priority, metavar="N|low|normal|high", help="-10, 0, 10: higher runs first."),
    ] = None,
    max_attempts: Annotated[int | None, typer.Option(help="Attempts that may fail. Default: 3.")] = None,
    timeout: Annotated[
        timedelta | None, typer.Option(parser=parsing.span, metavar="SPAN", help="Limit of one attempt.")
    ] = None,
    tag: Tags = None,
    on_conflict: Annotated[
        str, typer.Option(metavar="fail|keep|replace", help="What to do where a job of this id stands.")
    ] = "fail",
    address: Address = None,
    json: AsJson = False,
) -> None:
    """Schedule a job: due now, or after a delay, or at a time."""
    if delay is not None and at is not None:
        raise typer.BadParameter("give --delay or --at, not both")
    [conflict] = parsing.words(OnConflict, [on_conflict])
    named, payload = parsing.payload(type_, data, data_file)
    options = ScheduleOptions(
        queue=queue,
        job_id=job_id,
        priority=priority or 0,
        timeout=timeout,
        tags=parsing.tags(tag or ()),
        on_conflict=conflict,
        delay=delay,
        at=at,
        retry=None if max_attempts is None else RetryPolicy(max_attempts=max_attempts),
    )
    with connected(address) as client:
        job = client.schedule(named, payload, **options)
        _show(job, _DID.get(job.outcome or Outcome.CREATED, "scheduled"), json)


@app.command()
def get(job_id: JobId, queue: QueueName = "default", address: Address = None, json: AsJson = False) -> None:
    """Show one job with all that is known of it."""
    with connected(address) as client:
        job = client.get(job_id, queue=queue)
        if json:
            printing.print_job_json(job)
        else:
            printing.print_job(job)


@app.command("list")
def list_(
    state: States = None,
    type_: Types = None,
    tag: Tags = None,
    priority_min: Annotated[
        int | None, typer.Option(parser=parsing.priority, metavar="N|low|normal|high", help="This priority or higher.")
    ] = None,
    priority_max: Annotated[
        int | None, typer.Option(parser=parsing.priority, metavar="N|low|normal|high", help="This priority or lower.")
    ] = None,
    queue: QueueName = "default",
    limit: Annotated[int, typer.Option("--limit", "-n", min=0, help="Jobs at most; 0 is all.")] = 50,
    skip: Annotated[int, typer.Option(min=0, help="Jobs to pass over first.")] = 0,
    soonest: Annotated[bool, typer.Option("--soonest", help="Soonest due first; SCHEDULED jobs only.")] = False,
    full: Annotated[bool, typer.Option("--full", help="With payloads and results (in --json).")] = False,
    address: Address = None,
    json: AsJson = False,
) -> None:
    """List jobs, newest first."""
    states = parsing.words(State, state or ())
    with connected(address) as client:
        jobs = client.list(
            queue=queue,
            states=[State.SCHEDULED] if soonest and not states else states,
            types=type_ or [],
            tags=parsing.tags(tag or ()),
            priority_min=priority_min,
            priority_max=priority_max,
            order_by="schedule_time" if soonest else "create_time desc",
            skip=skip,
            limit=limit or None,
            view=View.FULL if full else View.BASIC,
        )
        _show_all(jobs, json)


@app.command()
def cancel(
    job_id: JobId,
    reason: Annotated[str, typer.Option(help="Why; kept with the job.")] = "",
    grace: Annotated[
        timedelta | None, typer.Option(parser=parsing.span, metavar="SPAN", help="How long a running job may take.")
    ] = None,
    queue: QueueName = "default",
    address: Address = None,
    json: AsJson = False,
) -> None:
    """Cancel a job. One that runs is asked to stop."""
    with connected(address) as client:
        job = client.cancel(job_id, queue=queue, reason=reason, grace=grace)
        _show(job, "cancelled" if job.state is State.CANCELLED else "asked to stop", json)


@app.command()
def run(job_id: JobId, queue: QueueName = "default", address: Address = None, json: AsJson = False) -> None:
    """Make a scheduled job due now."""
    with connected(address) as client:
        _show(client.run(job_id, queue=queue), "due now", json)


@app.command()
def retry(job_id: JobId, queue: QueueName = "default", address: Address = None, json: AsJson = False) -> None:
    """Make a failed or cancelled job due again."""
    with connected(address) as client:
        _show(client.retry(job_id, queue=queue), "due again", json)


@app.command()
def delete(job_id: JobId, queue: QueueName = "default", address: Address = None, json: AsJson = False) -> None:
    """Delete a job that has ended. Its id is free at once."""
    with connected(address) as client:
        client.delete(job_id, queue=queue)
        printing.print_deleted(job_id, json)


@app.command()
def watch(
    job_id: Annotated[str | None, typer.Argument(help="One job, until it ends. Default: all that match.")] = None,
    state: States = None,
    type_: Types = None,
    cursor: Annotated[str, typer.Option(help="Go on after this cursor, from an earlier --json line.")] = "",
    queue: QueueName = "default",
    address: Address = None,
    json: AsJson = False,
) -> None:
    """Print changes as they happen, a line each."""
    if job_id is not None and (state or type_ or cursor):
        raise typer.BadParameter("give a job's id, or a filter, not both")
    states = parsing.words(State, state or ())
    with connected(address, retries=True) as client:
        for change in client.watch(job_id, queue=queue, states=states, types=type_ or [], cursor=cursor):
            if json:
                printing.print_change_json(change)
            else:
                printing.print_change(change)


def _show(job: Job, did: str, json: bool) -> None:
    if json:
        printing.print_job_json(job)
    else:
        printing.print_outcome(job, did)


def _show_all(jobs: Iterable[Job], json: bool) -> None:
    if not json:
        printing.print_jobs(jobs)
        return
    for job in jobs:
        printing.print_job_json(job)
