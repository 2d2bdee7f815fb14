"""The options and arguments that several commands share."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from tocsin.cli import completing, parsing

JobId: TypeAlias = Annotated[
    str, typer.Argument(metavar="JOB_ID", help="The job's id.", show_default=False, autocompletion=completing.job_ids)
]
JobIds: TypeAlias = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[JOB_ID]...",
        help="Ids of jobs; or give a filter instead.",
        show_default=False,
        autocompletion=completing.job_ids,
    ),
]
QueueName: TypeAlias = Annotated[
    str, typer.Option("--queue", "-q", help="The queue the jobs stand in.", autocompletion=completing.queues)
]
QueueArgument: TypeAlias = Annotated[
    str, typer.Argument(metavar="QUEUE", help="The queue.", autocompletion=completing.queues)
]
Type: TypeAlias = Annotated[
    str,
    typer.Argument(metavar="TYPE", help="Which handler runs it.", show_default=False, autocompletion=completing.types),
]
States: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--state",
        "-s",
        help="Only jobs in this state (scheduled, waiting, active, ...). May be repeated.",
        autocompletion=completing.states,
    ),
]
Types: TypeAlias = Annotated[
    list[str] | None,
    typer.Option("--type", "-t", help="Only this type. May be repeated.", autocompletion=completing.types),
]
Tags: TypeAlias = Annotated[
    list[str] | None, typer.Option("--tag", metavar="KEY=VALUE", help="A label. May be repeated.")
]
LimitKey: TypeAlias = Annotated[
    str, typer.Option(metavar="KEY", help="Whose job it is, where its queue limits or takes turns by key.")
]
Weight: TypeAlias = Annotated[int | None, typer.Option(help="Share of turns of its key, 1 to 100.")]
CollapseKey: TypeAlias = Annotated[
    str, typer.Option(metavar="KEY", help="Jobs of one key and type are one; how, --collapse-mode says.")
]
CollapseMode: TypeAlias = Annotated[
    str,
    typer.Option(
        metavar="keep|replace|throttle|debounce|run_again_after", help="What becomes of it where one of its key stands."
    ),
]
Window: TypeAlias = Annotated[
    timedelta | None, typer.Option(parser=parsing.span, metavar="SPAN", help="Of keep, throttle and debounce.")
]
MaxWait: TypeAlias = Annotated[
    timedelta | None, typer.Option(parser=parsing.span, metavar="SPAN", help="Of debounce: put off no longer.")
]
ExpireAfter: TypeAlias = Annotated[
    timedelta | None,
    typer.Option(parser=parsing.span, metavar="SPAN", help="Not begun so long after it is due, it ends."),
]
ExpireAt: TypeAlias = Annotated[
    datetime | None, typer.Option(parser=parsing.time, metavar="TIME", help="Not begun by this time, it ends.")
]
After: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(metavar="ID", help="Begin once this job has ended; QUEUE/ID of another queue. May be repeated."),
]
WhenParentFails: TypeAlias = Annotated[
    str, typer.Option(metavar="run|fail|cancel", help="Of --after: what becomes of it where that job fails. Needed.")
]
BlockTimeout: TypeAlias = Annotated[
    timedelta | None,
    typer.Option(parser=parsing.span, metavar="SPAN", help="Of --after: it waits no longer."),
]
OnEnd: TypeAlias = Annotated[
    str, typer.Option(metavar="TYPE", help="A job of this type follows its end, however it ends.")
]
OnEndPayload: TypeAlias = Annotated[
    str | None,
    typer.Option(metavar="JSON", help="Of --on-end: that job's payload, a JSON object.", show_default=False),
]
DryRun: TypeAlias = Annotated[bool, typer.Option("--dry-run", metavar="", help="Only count the jobs that match.")]
Reason: TypeAlias = Annotated[str, typer.Option(help="Why; kept with the job.")]
Data: TypeAlias = Annotated[
    str | None, typer.Option("--data", "-d", metavar="JSON", help="Payload, a JSON object.", show_default=False)
]
DataFile: TypeAlias = Annotated[
    Path | None, typer.Option(help="File with the payload's JSON; - is standard input.", show_default=False)
]
Delay: TypeAlias = Annotated[
    timedelta | None, typer.Option(parser=parsing.span, metavar="SPAN", help="Due so long from now: 3s, 1h30m.")
]
At: TypeAlias = Annotated[
    datetime | None,
    typer.Option(parser=parsing.time, metavar="TIME", help="Due at this time: 2030-12-24T18:00:00Z."),
]
Priority: TypeAlias = Annotated[
    int | None,
    typer.Option(parser=parsing.priority, metavar="N|low|normal|high", help="-10, 0, 10: higher runs first."),
]
PriorityMin: TypeAlias = Annotated[
    int | None, typer.Option(parser=parsing.priority, metavar="N|low|normal|high", help="This priority or higher.")
]
PriorityMax: TypeAlias = Annotated[
    int | None, typer.Option(parser=parsing.priority, metavar="N|low|normal|high", help="This priority or lower.")
]
MaxAttempts: TypeAlias = Annotated[int | None, typer.Option(help="Attempts that may fail.")]
Timeout: TypeAlias = Annotated[
    timedelta | None, typer.Option(parser=parsing.span, metavar="SPAN", help="Limit of one attempt.")
]
Patience: TypeAlias = Annotated[
    timedelta | None,
    typer.Option(parser=parsing.span, metavar="SPAN", help="Wait no longer than this. Default: as long as it takes."),
]
