"""`tocsin worker`: runs jobs in this process that a server elsewhere keeps, with handlers or with a program."""

from __future__ import annotations

import logging
import os
import shutil
import sys
from datetime import timedelta
from enum import StrEnum
from typing import Annotated, Any, TypeAlias

import typer
from typer.core import TyperGroup

from tocsin.cli import completing, parsing
from tocsin.cli.connecting import telling
from tocsin.cli.connection_options import access
from tocsin.cli.texts import one_line
from tocsin.errors import InvalidArgument
from tocsin.tracing import NoOpenTelemetry, set_up
from tocsin.worker.context import running_job
from tocsin.worker.loading import HandlersNotFound, load_handlers
from tocsin.worker.registry import Handlers
from tocsin.worker.worker import Worker

#: Seconds after which a thread that computes gives way to another that wants to run (Python has 5 ms): a handler whose
#: thread never rests must not hold up heartbeats.
SWITCH_INTERVAL = 0.0005

_WRONGLY_USED = 2
_FORMAT = "%(asctime)s %(levelname)-7s %(message)s%(job)s"


class _DefaultGroup(TyperGroup):
    """`tocsin worker myapp.jobs` is `tocsin worker run myapp.jobs`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in ctx.help_option_names:
            args = ["run", *args]
        return list(super().parse_args(ctx, args))


class LogLevel(StrEnum):
    """The least important lines that are written."""

    debug = "debug"
    info = "info"
    warning = "warning"
    error = "error"


app = typer.Typer(
    cls=_DefaultGroup,
    help="Run jobs here that a server elsewhere keeps.\n\n"
    "`tocsin worker myapp.jobs` is short for `tocsin worker run myapp.jobs`.",
    no_args_is_help=True,
)

Server: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--server",
        "-s",
        metavar="HOST:PORT,...",
        envvar="TOCSIN_ADDRESS",
        help="The server, or several of one store with commas between them. Default: localhost:50051.",
    ),
]
Queues: TypeAlias = Annotated[
    list[str] | None,
    typer.Option("--queue", "-q", help="Only jobs of this queue. May be repeated.", autocompletion=completing.queues),
]
Name: TypeAlias = Annotated[
    str | None, typer.Option(help="Its name among the workers. Default: host, process id and some letters.")
]
Version: TypeAlias = Annotated[
    str, typer.Option("--version", metavar="VERSION", help="Version of your code, like 2.11.0.", show_default=False)
]
Labels: TypeAlias = Annotated[
    list[str] | None, typer.Option("--label", metavar="KEY=VALUE", help="A label to tell it by. May be repeated.")
]
Lease: TypeAlias = Annotated[
    timedelta,
    typer.Option(parser=parsing.span, metavar="SPAN", help="How long a job stays its own if nothing is heard of it."),
]
Grace: TypeAlias = Annotated[
    timedelta,
    typer.Option(
        parser=parsing.span, metavar="SPAN", help="How long what runs may take to end after SIGTERM or Ctrl-C."
    ),
]
Tracing: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--tracing",
        metavar="",
        envvar="TOCSIN_TRACING__ENABLED",
        help="Send a span for each attempt by OTLP, as the variables OTEL_* say. Needs the extra otel.",
    ),
]
Level: TypeAlias = Annotated[
    LogLevel, typer.Option("--log-level", help="The least important lines that are written, on standard error.")
]


@app.command("run")
def run(
    modules: Annotated[
        list[str],
        typer.Argument(
            metavar="MODULE",
            help="Where the handlers are: myapp.jobs, or myapp.jobs:other_name. May be repeated.",
            show_default=False,
        ),
    ],
    server: Server = None,
    queues: Queues = None,
    concurrency: Annotated[int, typer.Option(help="Jobs at once, over all types.")] = 20,
    name: Name = None,
    version: Version = "",
    labels: Labels = None,
    lease: Lease = "30s",  # type: ignore[assignment]  # typer hands the default to the parser
    grace: Grace = "25s",  # type: ignore[assignment]  # as that of lease
    tracing: Tracing = False,
    log_level: Level = LogLevel.info,
) -> None:
    """Run the handlers of a module, as `tocsin serve --handlers` does inside the server.

    SIGTERM and Ctrl-C stop it in order: it takes no more jobs, what runs gets its grace, and the rest is given back. A
    second one stops it at once. It exits 0 then.
    """
    try:
        handlers = Handlers.merged(*(load_handlers(module) for module in modules))
    except (HandlersNotFound, ValueError) as error:
        raise _refused(str(error)) from None
    _work(
        handlers,
        log_level,
        tracing,
        address=server,
        queues=queues,
        concurrency=concurrency,
        name=name,
        version=version,
        labels=parsing.tags(labels or []),
        lease=lease,
        grace=grace,
    )


@app.command("exec")
def exec_(
    command: Annotated[
        list[str],
        typer.Argument(metavar="COMMAND", help="The program and its arguments, after --.", show_default=False),
    ],
    types: Annotated[
        list[str],
        typer.Option("--type", "-t", help="Type of the jobs that it runs. May be repeated.", show_default=False),
    ],
    server: Server = None,
    queues: Queues = None,
    concurrency: Annotated[
        int | None, typer.Option(help="Programs at once. Default: as many as there are cores.", show_default=False)
    ] = None,
    name: Name = None,
    version: Version = "",
    labels: Labels = None,
    lease: Lease = "30s",  # type: ignore[assignment]  # typer hands the default to the parser
    grace: Grace = "25s",  # type: ignore[assignment]  # as that of lease
    kill_after: Annotated[
        timedelta,
        typer.Option(
            parser=parsing.span, metavar="SPAN", help="Time from SIGTERM to SIGKILL, after a timeout or a lost lease."
        ),
    ] = "3s",  # type: ignore[assignment]  # as that of lease
    tracing: Tracing = False,
    log_level: Level = LogLevel.info,
) -> None:
    """Run a program for each job: any program, in any language.

    It reads the payload on standard input (JSON, or the bytes of a raw payload) and finds the job in TOCSIN_QUEUE,
    TOCSIN_JOB_ID, TOCSIN_TYPE, TOCSIN_ATTEMPT, TOCSIN_FAILURES and TOCSIN_CONTENT_TYPE. What it writes to standard
    output is the result, up to 256 KiB: JSON, else text, else bytes. Lines on standard error become the job's log.

    Exit code 0 completes the job; 75, or its death by a signal, is a failure that may be retried; any other code fails
    the job for good. Timeout and cancel send SIGTERM, and after a while SIGKILL, to its whole process group.
    """
    if sys.platform == "win32":
        raise _refused("programs need process groups, which Windows does not have")
    if shutil.which(command[0]) is None:
        raise _refused(f"there is no program {command[0]!r}: is the name right, and may it be executed?")
    try:
        handlers = Handlers.for_program(types, command)
    except ValueError as error:
        raise _refused(str(error)) from None
    _work(
        handlers,
        log_level,
        tracing,
        address=server,
        queues=queues,
        concurrency=_cores() if concurrency is None else concurrency,
        name=name,
        version=version,
        labels=parsing.tags(labels or []),
        lease=lease,
        grace=grace,
        stop_grace=kill_after,
    )


def _work(handlers: Handlers, log_level: LogLevel, tracing: bool, **settings: Any) -> None:
    try:
        if tracing:
            set_up("tocsin-worker")
        worker = Worker(handlers=handlers, **settings, **access())
    except InvalidArgument as error:
        raise _refused(*(f"{one.field}: {one.description}" for one in error.violations)) from None
    except NoOpenTelemetry as error:
        raise _refused(str(error)) from None
    _log_to_standard_error(log_level)
    sys.setswitchinterval(SWITCH_INTERVAL)
    with telling():
        worker.run()


def _refused(*lines: str) -> typer.Exit:
    """Say why it is not started; raise what this returns."""
    for line in lines:
        print(f"tocsin worker: {one_line(line)}", file=sys.stderr)
    return typer.Exit(_WRONGLY_USED)


def _cores() -> int:
    """Those that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _log_to_standard_error(level: LogLevel) -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter(_FORMAT))
    handler.addFilter(_name_the_job)
    logging.basicConfig(level=level.upper(), handlers=[handler])


def _name_the_job(record: logging.LogRecord) -> bool:
    """What a handler logs is followed by its job."""
    job = running_job()
    record.job = " [{type} {queue}/{job_id} attempt {attempt}]".format(**job) if job else ""
    return True
