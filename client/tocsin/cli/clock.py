"""`tocsin clock`: the store's clock, which tests move by hand."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated

import typer

from tocsin.cli import json_lines, parsing
from tocsin.cli.connecting import Address, AsJson, connected
from tocsin.cli.tables import Column, print_table
from tocsin.cli.texts import styled, time_text
from tocsin.clock import ClockMove

app = typer.Typer(
    help="Look at the store's clock, and move it where the server was started with --clock manual.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)

_NEXT = "to-next"


@app.command()
def get(address: Address = None, json: AsJson = False) -> None:
    """Show what time it is for the store, and when something is due next."""
    with connected(address) as client:
        reading = client.clock.get()
    due = reading.next_due_time
    if json:
        json_lines.print_json(reading.message)
        return
    typer.echo(f"{time_text(reading.now)}, {'moved by hand' if reading.manual else 'real time'}")
    typer.echo("nothing is due" if due is None else f"next: {time_text(due)}")


@app.command()
def advance(
    to: Annotated[str, typer.Argument(metavar="SPAN|TIME|to-next", help="3d, 90s, 2027-01-01T08:00Z, or to-next.")],
    settle: Annotated[
        timedelta | None,
        typer.Option(parser=parsing.span, metavar="SPAN", help="Wait so long for what does not get on. Default: 1s."),
    ] = None,
    address: Address = None,
    json: AsJson = False,
) -> None:
    """Move the clock ahead, and show what ran on the way: each attempt that ended, in the order in which it was due."""
    with connected(address) as client:
        if to == _NEXT:
            done = client.clock.advance_to_next(settle=settle)
        elif re.match(r"\d{4}-", to):
            done = client.clock.advance(to=parsing.time(to), settle=settle)
        else:
            done = client.clock.advance(seconds=parsing.span(to).total_seconds(), settle=settle)
    if json:
        for one in done.ran:
            json_lines.print_json(one.message)
    else:
        _show(done)


def _show(done: ClockMove) -> None:
    columns = [Column("DUE"), Column("TYPE"), Column("JOB"), Column("ATTEMPT"), Column("THEN"), Column("ERROR")]
    for one in done.ran:
        cells = [time_text(one.due_time), one.type, one.job_id, str(one.attempt), one.state.value, one.error]
        for column, cell in zip(columns, cells, strict=True):
            column.cells.append(styled(cell))
    if done.ran:
        print_table(columns)
    typer.echo(f"It is {time_text(done.now)}.")
    if done.more:
        typer.echo("It stopped on the way, for much has run; say it again.")
