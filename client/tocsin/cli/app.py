"""Puts the command together: a file a command group, and the commands that other packages register."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.metadata import EntryPoint, entry_points
from typing import Annotated, NoReturn

import typer

from tocsin import __version__
from tocsin.cli import health, jobs, queues, reminders, transfer

GROUP = "tocsin.commands"

#: Commands of the server package, and what they are for where it is not installed.
SERVER_COMMANDS = ("dev", "doctor", "migrate", "serve")


def run(arguments: Sequence[str]) -> NoReturn:
    """Run the command that `arguments` name, and exit: 0 done, 1 refused, 2 wrongly used, 130 interrupted."""
    name = _named(arguments)
    try:
        build(name)(list(arguments), prog_name="tocsin")
    except ModuleNotFoundError as error:  # a command may import what it needs when it runs
        if name not in SERVER_COMMANDS or _is_ours(error):
            raise
        sys.exit(_missing(name, error))
    sys.exit(0)


def build(name: str | None) -> typer.Typer:
    """The app that can run the command `name`, or show all where it is None.

    Of other packages only what is named is loaded: the server's imports are slow.
    """
    app = typer.Typer(
        help="Schedule jobs on a Tocsin server, look after them and their queues, and run the server.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_options)
    app.add_typer(jobs.app, name="jobs")
    app.add_typer(queues.app, name="queues")
    app.add_typer(reminders.app, name="reminders")
    app.command("export")(transfer.export)
    app.command("import")(transfer.import_)
    app.command("health", cls=health.ProbeCommand)(health.health)

    found = {entry.name: entry for entry in entry_points(group=GROUP)}
    for other in sorted(found.keys() | set(SERVER_COMMANDS)):
        if name is None or name == other:
            _register(app, other, found.get(other))
    return app


def _named(arguments: Sequence[str]) -> str | None:
    return next((argument for argument in arguments if not argument.startswith("-")), None)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"tocsin {__version__}")
        raise typer.Exit


def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", is_eager=True, callback=_print_version)
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
        help=r"Needs the server: pip install 'tocsin\[server]'",  # typer reads help as rich markup
        context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
    )(missing)


def _missing(name: str, error: ModuleNotFoundError | None) -> str:
    detail = "" if error is None else f" ({error.name} is not installed)"
    return f"tocsin {name} needs the server{detail}; install it with: pip install 'tocsin[server]'"


def _is_ours(error: ModuleNotFoundError) -> bool:
    """A module of the client is missing: a fault of ours, no package to install."""
    return (error.name or "").partition(".")[0] == "tocsin"
