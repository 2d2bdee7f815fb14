"""`tocsin jobs`: schedule, look at, change and watch jobs. What acts on many at once is in `many`."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Annotated, Any

import typer

from tocsin.cli import following, json_lines, many, options, parsing, printing, waiting
from tocsin.cli.connecting import Address, AsJson, connected
from tocsin.cli.live import refreshed
from tocsin.client import Client
from tocsin.enums import CollapseMode, OnConflict, Outcome, State, View
from tocsin.jobs import Job
from tocsin.requests import Collapse, ListOptions, Retention, RetryPolicy, ScheduleOptions

app = typer.Typer(
    help="Schedule jobs, look at them, change and watch them.", no_args_is_help=True, rich_markup_mode="markdown"
)
app.command("cancel")(many.cancel)
app.command("retry")(many.retry)
app.command("run")(many.run)
app.command("delete")(many.delete)
app.command("retime")(many.retime)
app.command("move")(many.move)
app.command("prioritize")(many.prioritize)
app.command("wait")(waiting.wait)
app.command("explain")(following.explain)
app.command("logs")(following.logs)

#: What `update` takes away, and what stands then.
_CLEARED: dict[str, Any] = {"tags": {}, "timeout": None}
_DID = {Outcome.CREATED: "scheduled", Outcome.KEPT: "kept", Outcome.REPLACED: "replaced"}


@app.command()
def schedule(
    type_: options.Type,
    data: options.Data = None,
    data_file: options.DataFile = None,
    delay: options.Delay = None,
    at: options.At = None,
    queue: options.QueueName = "default",
    job_id: Annotated[str, typer.Option(help="Name of the job. Default: the server makes one.")] = "",
    priority: options.Priority = None,
    max_attempts: options.MaxAttempts = None,
    timeout: options.Timeout = None,
    tag: options.Tags = None,
    limit_key: options.LimitKey = "",
    weight: options.Weight = None,
    collapse_key: options.CollapseKey = "",
    collapse_mode: options.CollapseMode = "keep",
    window: options.Window = None,
    max_wait: options.MaxWait = None,
    expire_after: options.ExpireAfter = None,
    expire_at: options.ExpireAt = None,
    after: options.After = None,
    when_parent_fails: options.WhenParentFails = "",
    block_timeout: options.BlockTimeout = None,
    on_end: options.OnEnd = "",
    on_end_payload: options.OnEndPayload = None,
    on_conflict: Annotated[
        str, typer.Option(metavar="fail|keep|replace", help="What to do where a job of this id stands.")
    ] = "fail",
    wait: Annotated[
        bool, typer.Option("--wait", metavar="", help="Wait for its end, as `tocsin jobs wait` does.")
    ] = False,
    wait_timeout: options.Patience = None,
    address: Address = None,
    json: AsJson = False,
) -> None:
    """Schedule a job: due now, or after a delay, or at a time."""
    if delay is not None and at is not None:
        raise typer.BadParameter("give --delay or --at, not both")
    if wait_timeout is not None and not wait:
        raise typer.BadParameter("is of --wait, which is not given", param_hint="--wait-timeout")
    if expire_after is not None and expire_at is not None:
        raise typer.BadParameter("give --expire-after or --expire-at, not both")
    [conflict] = parsing.words(OnConflict, [on_conflict])
    [mode] = parsing.words(CollapseMode, [collapse_mode])
    if not collapse_key and (window, max_wait, mode) != (None, None, CollapseMode.KEEP):
        raise typer.BadParameter("is needed with --collapse-mode, --window and --max-wait", param_hint="--collapse-key")
    depends_on = parsing.depends_on(after, when_parent_fails, block_timeout)
    named, payload = parsing.payload(type_, data, data_file)
    asked = ScheduleOptions(
        queue=queue,
        job_id=job_id,
        priority=priority or 0,
        timeout=timeout,
        tags=parsing.tags(tag or ()),
        limit_key=limit_key,
        **({} if weight is None else {"weight": weight}),
        collapse=Collapse(collapse_key, mode, window, max_wait) if collapse_key else None,
        depends_on=depends_on,
        on_end=parsing.on_end(on_end, on_end_payload),
        expire=expire_at if expire_after is None else expire_after,
        on_conflict=conflict,
        delay=delay,
        at=at,
        retry=None if max_attempts is None else RetryPolicy(max_attempts=max_attempts),
    )
    with connected(address) as client:
        job = client.schedule(named, payload, **asked)
        if not wait:
            many.show(job, _DID.get(job.outcome or Outcome.CREATED, "scheduled"), json)
    if wait:
        waiting.follow(address, job.job_id, queue, wait_timeout, json=json)


@app.command()
def get(
    job_id: options.JobId, queue: options.QueueName = "default", address: Address = None, json: AsJson = False
) -> None:
    """Show one job with all that is known of it."""
    with connected(address) as client:
        job = client.get(job_id, queue=queue)
        if json:
            json_lines.print_job_json(job)
        else:
            printing.print_job(job)


@app.command("list")
def list_(
    state: options.States = None,
    type_: options.Types = None,
    tag: options.Tags = None,
    priority_min: options.PriorityMin = None,
    priority_max: options.PriorityMax = None,
    queue: options.QueueName = "default",
    limit: Annotated[int, typer.Option("--limit", "-n", min=0, help="Jobs at most; 0 is all.")] = 50,
    skip: Annotated[int, typer.Option(min=0, help="Jobs to pass over first.")] = 0,
    soonest: Annotated[
        bool, typer.Option("--soonest", metavar="", help="Soonest due first; SCHEDULED jobs only.")
    ] = False,
    full: Annotated[bool, typer.Option("--full", metavar="", help="With payloads and results (in --json).")] = False,
    watch: Annotated[
        bool, typer.Option("--watch", "-w", metavar="", help="Show it anew every 2 s; q or Ctrl-C ends it.")
    ] = False,
    address: Address = None,
    json: AsJson = False,
) -> None:
    """List jobs, newest first."""
    if watch and json:
        raise typer.BadParameter("give --watch or --json, not both; `tocsin jobs watch --json` prints changes")
    states = parsing.words(State, state or ())
    asked = ListOptions(
        queue=queue,
        states=[State.SCHEDULED] if soonest and not states else states,
        types=type_ or [],
        tags=parsing.tags(tag or ()),
        priority_min=priority_min,
        priority_max=priority_max,
        order_by="schedule_time" if soonest else "create_time desc",
        skip=skip,
        view=View.FULL if full else View.BASIC,
    )

    def found(client: Client) -> Iterable[Job]:
        return client.list(limit=limit or None, **asked)

    with connected(address, retries=watch) as client:
        if watch:
            refreshed(lambda room: printing.jobs_lines(found(client), room))
        elif json:
            for job in found(client):
                json_lines.print_job_json(job)
        else:
            printing.print_jobs(found(client))


@app.command()
def count(
    state: options.States = None,
    type_: options.Types = None,
    queue: options.QueueName = "default",
    address: Address = None,
    json: AsJson = False,
) -> None:
    """Print how many jobs there are of these states and types."""
    states = parsing.words(State, state or ())
    with connected(address) as client:
        number = client.count(queue=queue, states=states, types=type_ or [])
        if json:
            json_lines.print_json_line({"count": number})
        else:
            print(number)


@app.command()
def update(
    job_id: options.JobId,
    data: options.Data = None,
    data_file: options.DataFile = None,
    delay: options.Delay = None,
    at: options.At = None,
    priority: options.Priority = None,
    max_attempts: options.MaxAttempts = None,
    timeout: options.Timeout = None,
    completed_for: Annotated[
        timedelta | None,
        typer.Option(parser=parsing.span, metavar="SPAN", help="How long it stands once COMPLETED or CANCELLED."),
    ] = None,
    failed_for: Annotated[
        timedelta | None, typer.Option(parser=parsing.span, metavar="SPAN", help="How long it stands once FAILED.")
    ] = None,
    tag: options.Tags = None,
    clear: Annotated[
        list[str] | None, typer.Option(metavar="tags|timeout", help="Take these away. May be repeated.")
    ] = None,
    revision: Annotated[
        int | None, typer.Option(help="Only if this is still the job's revision.", show_default=False)
    ] = None,
    queue: options.QueueName = "default",
    address: Address = None,
    json: AsJson = False,
) -> None:
    """Change a job that neither runs nor has ended. Labels that are given are all that it has afterwards."""
    if delay is not None and at is not None:
        raise typer.BadParameter("give --delay or --at, not both")
    changes: dict[str, Any] = {"delay": delay, "at": at, "priority": priority, "timeout": timeout}
    changes["retry"] = None if max_attempts is None else RetryPolicy(max_attempts=max_attempts)
    retention = Retention(completed_for, failed_for)
    changes["retention"] = None if retention == Retention() else retention
    changes["tags"] = parsing.tags(tag) if tag else None
    changes = {name: value for name, value in changes.items() if value is not None}
    for name in clear or ():
        if name not in _CLEARED or name in changes:
            raise typer.BadParameter("is tags or timeout, and not what is set beside", param_hint="--clear")
        changes[name] = _CLEARED[name]
    if not changes and data is None and data_file is None:
        raise typer.BadParameter("name what to change: --delay, --priority, --data, --tag, ...")
    with connected(address) as client:
        if data is not None or data_file is not None:
            standing = client.get(job_id, queue=queue, view=View.BASIC)  # the type says how the JSON is read
            named, payload = parsing.payload(standing.type, data, data_file)
            changes["payload"] = payload if isinstance(named, str) else named
        many.show(client.update(job_id, queue=queue, revision=revision, **changes), "updated", json)


@app.command()
def hold(
    job_id: options.JobId, queue: options.QueueName = "default", address: Address = None, json: AsJson = False
) -> None:
    """Let no attempt of a job that does not run begin, until it is released."""
    with connected(address) as client:
        many.show(client.hold(job_id, queue=queue), "held", json)


@app.command()
def release(
    job_id: options.JobId, queue: options.QueueName = "default", address: Address = None, json: AsJson = False
) -> None:
    """Let a held job go."""
    with connected(address) as client:
        many.show(client.release(job_id, queue=queue), "released", json)


@app.command()
def watch(
    job_id: Annotated[
        str | None,
        typer.Argument(
            metavar="[JOB_ID]",
            help="One job, until it ends. Default: all that match.",
            autocompletion=options.completing.job_ids,
        ),
    ] = None,
    state: options.States = None,
    type_: options.Types = None,
    cursor: Annotated[str, typer.Option(help="Go on after this cursor, from an earlier --json line.")] = "",
    queue: options.QueueName = "default",
    address: Address = None,
    json: AsJson = False,
) -> None:
    """Print changes as they happen, a line each, with the time of the change in UTC."""
    if job_id is not None and (state or type_ or cursor):
        raise typer.BadParameter("give a job's id, or a filter, not both")
    states = parsing.words(State, state or ())
    with connected(address, retries=True) as client:
        for change in client.watch(job_id, queue=queue, states=states, types=type_ or [], cursor=cursor):
            if json:
                json_lines.print_change_json(change)
            else:
                printing.print_change(change)
