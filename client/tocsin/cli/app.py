"""Puts the command together: a file a command group, and the commands that other packages register."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib.metadata import EntryPoint, entry_points
from typing import Annotated, NoReturn

import typer

from tocsin import __version__
from tocsin.cli import health, jobs, queues

GROUP = "tocsin.commands"

#: Commands of the server package, and what they are for where it is not installed.
SERVER_COMMANDS = ("dev", "doctor", "serve")

_INTERRUPTED = 130


def run(arguments: Sequence[str]) -> NoReturn:
    """Run the command that `arguments` name, and exit: 0 done, 1 refused, 2 wrongly used."""
    try:
        build(arguments)(list(arguments), prog_name="tocsin")
    except KeyboardInterrupt:
        sys.exit(_INTERRUPTED)
    except BrokenPipeError:
        # Whoever read our output has left, as `head` does. Nothing more can be written, not even by the exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    sys.exit(0)


def build(arguments: Sequence[str]) -> typer.Typer:
    """The app that can run `arguments`.

    Only the commands that these name are loaded, all where none is named: the server's imports are slow.
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
    app.command("health", cls=health.ProbeCommand)(health.health)

    named = next((argument for argument in arguments if not argument.startswith("-")), None)
    found = {entry.name: entry for entry in entry_points(group=GROUP)}
    for name in sorted(found.keys() | set(SERVER_COMMANDS)):
        if named is None or named == name:
            _register(app, name, found.get(name))
    return app


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
    if entry is None:
        _register_missing(app, name, "")
        return
    try:
        register = entry.load()
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] == "tocsin":
            raise  # a fault of ours, no missing package
        _register_missing(app, name, f" ({error.name} is not installed)")
    else:
        register(app)


def _register_missing(app: typer.Typer, name: str, detail: str) -> None:
    def missing() -> None:
        print(f"tocsin {name} needs the server{detail}; install it with: pip install 'tocsin[server]'", file=sys.stderr)
        raise typer.Exit(1)

    app.command(
        name,
        help=r"Needs the server: pip install 'tocsin\[server]'",  # typer reads help as rich markup
        context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
    )(missing)
