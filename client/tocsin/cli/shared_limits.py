"""`tocsin limits`: limits that several queues share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from tocsin.cli import json_lines, queue_limits
from tocsin.cli.connecting import Address, AsJson, connected
from tocsin.cli.tables import Column, print_table
from tocsin.cli.texts import rate_text, styled
from tocsin.shared_limits import SharedLimit

app = typer.Typer(help="Keep limits that several queues share.", no_args_is_help=True, rich_markup_mode="markdown")

_Name = Annotated[str, typer.Argument(metavar="NAME", help="The shared limit.")]


@app.command()
def put(
    name: _Name,
    queue: Annotated[list[str], typer.Option("--queue", "-q", metavar="QUEUE", help="A queue. May be repeated.")],
    max_: Annotated[
        int | None, typer.Option("--max", metavar="NUMBER", help="How many of their jobs run at once.")
    ] = None,
    rate: Annotated[str, typer.Option(metavar="JOBS/SPAN", help="How fast their jobs begin: 100/1m.")] = "",
    burst: Annotated[int, typer.Option(help="How many begin at once where none did for a while.")] = 1,
    address: Address = None,
    json: AsJson = False,
) -> None:
    """Make a shared limit, or put it whole in the place of what stands."""
    pace = queue_limits.read_rate(rate, burst, "--rate") if rate else None
    with connected(address) as client:
        done = client.shared_limits.put(name, queue, max_active=max_, rate=pace)
    _show([done], json=json)


@app.command()
def get(name: _Name, address: Address = None, json: AsJson = False) -> None:
    """Show a shared limit, and how full it is."""
    with connected(address) as client:
        _show([client.shared_limits.get(name)], json=json)


@app.command("list")
def list_(address: Address = None, json: AsJson = False) -> None:
    """List all shared limits."""
    with connected(address) as client:
        _show(client.shared_limits.list(), json=json)


@app.command()
def delete(name: _Name, address: Address = None) -> None:
    """Delete a shared limit."""
    with connected(address) as client:
        client.shared_limits.delete(name)


def _show(limits: Sequence[SharedLimit], *, json: bool) -> None:
    if json:
        for one in limits:
            json_lines.print_json(one.message)
        return
    columns = [Column(name) for name in ("LIMIT", "ACTIVE", "MAX", "RATE", "QUEUES")]
    for one in limits:
        most = "" if one.max_active is None else f"{one.max_active:,}"
        queues = ", ".join(f"{name} {one.active_by_queue.get(name, 0)}" for name in one.queues)
        row = (one.name, f"{one.active:,}", most, rate_text(one.rate), queues)
        for column, cell in zip(columns, row, strict=True):
            column.cells.append(styled(cell))
    print_table(columns)
