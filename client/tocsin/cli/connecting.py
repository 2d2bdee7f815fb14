"""The client of one command: where it connects, and how a refusal is told."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, TypeAlias

import typer

from tocsin._channel import resolve_address
from tocsin.cli.printing import shown
from tocsin.client import Client
from tocsin.errors import TocsinError

Address: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--address", "-a", metavar="HOST:PORT", envvar="TOCSIN_ADDRESS", help="The server. Default: localhost:50051."
    ),
]
AsJson: TypeAlias = Annotated[bool, typer.Option("--json", help="Print JSON, field names as in proto JSON.")]
QueueName: TypeAlias = Annotated[str, typer.Option("--queue", "-q", help="The queue the job stands in.")]

_INTERRUPTED = 130


@contextmanager
def connected(address: str | None, *, retries: bool = False) -> Iterator[Client]:
    """A client of the server. What it raises becomes one line on standard error and exit code 1.

    Calls are made once, so that a server which is not there is told at once; `retries` is for what goes on for long.
    """
    try:
        with Client(address, retries=retries) as client:
            yield client
    except TocsinError as error:
        where = f"no server is reached at {resolve_address(address)}: " if error.never_sent else ""
        fail(f"{where}{error}", error.reason or error.status.name)
    except ValueError as error:  # of the address
        fail(str(error), "")
    except KeyboardInterrupt:  # how a watch is ended
        raise typer.Exit(_INTERRUPTED) from None


def fail(message: str, reason: str) -> None:
    """Say what went wrong and exit 1."""
    lines = " ".join(shown(message).split())
    print(f"tocsin: {lines}" + (f" [{reason}]" if reason else ""), file=sys.stderr)
    raise typer.Exit(1)
