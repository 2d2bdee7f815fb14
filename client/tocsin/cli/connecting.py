"""The client of one command: where it connects, and how a refusal is told."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, NoReturn, TypeAlias

import typer

from tocsin.cli.connection_options import access
from tocsin.cli.texts import one_line
from tocsin.client import Client
from tocsin.errors import InvalidArgument, TocsinError

Address: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--address", "-a", metavar="HOST:PORT", envvar="TOCSIN_ADDRESS", help="The server. Default: localhost:50051."
    ),
]
AsJson: TypeAlias = Annotated[
    bool, typer.Option("--json", metavar="", help="Print JSON, field names as in proto JSON.")
]

_INTERRUPTED = 130
_ON_CONFLICT = re.compile(r"\bon_conflict KEEP\b")


@contextmanager
def connected(address: str | None, *, retries: bool = False) -> Iterator[Client]:
    """A client of the server. What it raises becomes one line on standard error and exit code 1.

    Calls are made once, so that a server which is not there is told at once; `retries` is for what goes on for long.
    """
    with telling(), Client(address, retries=retries, **access()) as client:
        yield client


@contextmanager
def telling() -> Iterator[None]:
    """What a client raises becomes one line on standard error and exit code 1."""
    try:
        yield
    except InvalidArgument as error:
        if [violation.field for violation in error.violations] == ["address"]:
            fail(error.violations[0].description, "")
        complain(error)
        raise typer.Exit(1) from None
    except TocsinError as error:
        complain(error)
        raise typer.Exit(1) from None
    except KeyboardInterrupt:  # how a watch is ended
        raise typer.Exit(_INTERRUPTED) from None


def fail(message: str, reason: str) -> NoReturn:
    """Say what went wrong and exit 1."""
    _say(message, reason)
    raise typer.Exit(1)


def complain(error: TocsinError) -> bool:
    """Say why something was refused; True."""
    message = str(error)
    if error.reason == "JOB_EXISTS":  # said in the words of the protos; here they are an option's
        message = _ON_CONFLICT.sub("--on-conflict keep", message).replace(" REPLACE ", " replace ")
    _say(message, error.reason or error.status.name)
    return True


def _say(message: str, reason: str) -> None:
    lines = one_line(" ".join(message.split()))
    print(f"tocsin: {lines}" + (f" [{reason}]" if reason else ""), file=sys.stderr)
