"""Puts the command together: a file a command group, and the commands that other packages register."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from typing import Annotated, Any, NoReturn

import typer
import typer.main

from tocsin import __version__
from tocsin.cli import (
    calendars,
    clock,
    health,
    jobs,
    queues,
    reminders,
    schedules,
    shared_limits,
    top,
    transfer,
    worker,
    workers,
)
from tocsin.cli.connection_options import with_connection_options

GROUP = "tocsin.commands"
COMPLETION = "_TOCSIN_COMPLETE"  # set by a shell that asks what may follow
_SERVER = "tocsin_server"

#: Commands of the server package, and what they do, so that nothing of it has to be imported to say so.
SERVER_COMMANDS = {
    "conformance": "Prove a worker program right, in whatever language it is.",
    "dev": "Try Tocsin here: a server with everything it needs, on this machine only.",
    "doctor": "Check the configuration and the store, and say what to mend. Changes nothing.",
    "keys": "Make and change the key ring that payloads are encrypted with in the store.",
    "migrate": "Move jobs from another store of Tocsin, or bring them over from Bull, BullMQ or Agenda.",
    "reencrypt": "Encrypt all that stands in the store with the primary key of the ring.",
    "serve": "Serve jobs over gRPC and run those that have a handler here.",
    "token": "Make, list and revoke the tokens by which callers say who they are.",
}


def run(arguments: Sequence[str]) -> NoReturn:
    """Run the command that `arguments` name, and exit: 0 done, 1 refused, 2 wrongly used, 130 interrupted."""
    name = _completed() if COMPLETION in os.environ else _named(arguments)
    try:
        build(name)(list(arguments), prog_name="tocsin")
    except ModuleNotFoundError as error:  # a command may import what it needs when it runs
        if name not in SERVER_COMMANDS or _is_ours(error):
            raise
        sys.exit(_missing(name, error))
    sys.exit(0)


def build(name: str | None) -> Any:
    """The command that can run the command `name`, or show all where it is None.

    Of other packages only what is named is loaded: the server's imports are slow.
    """
    app = typer.Typer(
        help="Schedule jobs on a Tocsin server, look after them and their queues, and run the server.",
        no_args_is_help=True,
        rich_markup_mode="markdown",  # paragraphs of help are broken where the terminal ends, not where the source does
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_options)
    app.add_typer(jobs.app, name="jobs")
    app.add_typer(queues.app, name="queues")
    app.add_typer(reminders.app, name="reminders")
    app.add_typer(schedules.app, name="schedules")
    app.add_typer(calendars.app, name="calendars")
    app.add_typer(shared_limits.app, name="limits")
    app.add_typer(clock.app, name="clock")
    app.add_typer(worker.app, name="worker")
    app.command("workers")(workers.workers)
    app.command("export")(transfer.export)
    app.command("import")(transfer.import_)
    app.command("top")(top.top)
    app.command("health", cls=health.ProbeCommand)(health.health)

    found = {entry.name: entry for entry in entry_points(group=GROUP)}
    for other in sorted(found.keys() | SERVER_COMMANDS.keys()):
        if name is None and other in SERVER_COMMANDS and other in found and find_spec(_SERVER) is not None:
            app.command(other, help=SERVER_COMMANDS[other])(_not_loaded)
        elif name is None or name == other:
            _register(app, other, found.get(other))
    return with_connection_options(typer.main.get_command(app))


def _not_loaded() -> None:
    raise AssertionError("a command that is run is loaded by its name")


def _completed() -> str | None:
    """The command of the server package that a shell asks about, which has to be loaded then; None: any other."""
    words = (os.environ.get("_TYPER_COMPLETE_ARGS") or os.environ.get("COMP_WORDS", "")).split()
    return next((word for word in words[1:2] if word in SERVER_COMMANDS), None)


def _named(arguments: Sequence[str]) -> str | None:
    return next((argument for argument in arguments if not argument.startswith("-")), None)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"tocsin {__version__}")
        raise typer.Exit


def _options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", metavar="", help="Print the version and exit.", is_eager=True, callback=_print_version
        ),
    ] = False,
) -> None:
    """What stands before the command; `version` has done its work when it is parsed."""


def _register(app: typer.Typer, name: str, entry: EntryPoint | None) -> None:
    try:
        if entry is not None:
            entry.load()(app)
            return
        line = _missing(name, None)
    except ModuleNotFoundError as error:
        if _is_ours(error):
            raise
        line = _missing(name, error)

    def missing() -> None:
        print(line, file=sys.stderr)
        raise typer.Exit(1)

    app.command(
        name,
        help=r"Needs the server: pip install 'tocsin\[server]'",  # typer reads help as markup
        context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
    )(missing)


def _missing(name: str, error: ModuleNotFoundError | None) -> str:
    detail = "" if error is None else f" ({error.name} is not installed)"
    return f"tocsin {name} needs the server{detail}; install it with: pip install 'tocsin[server]'"


def _is_ours(error: ModuleNotFoundError) -> bool:
    """A module of the client is missing: a fault of ours, no package to install."""
    return (error.name or "").partition(".")[0] == "tocsin"
