"""`tocsin workers`: who runs jobs, and how many each holds."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.text import Text

from tocsin.cli import json_lines
from tocsin.cli.connecting import Address, AsJson, connected
from tocsin.cli.tables import Column, print_table
from tocsin.cli.texts import styled, time_text


def workers(
    queue: Annotated[str, typer.Option("--queue", "-q", metavar="NAME", help="Only who takes jobs of it.")] = "",
    type_: Annotated[str, typer.Option("--type", "-t", metavar="NAME", help="Only who runs it.")] = "",
    address: Address = None,
    json: AsJson = False,
) -> None:
    """List who runs jobs: workers, and servers with handlers of their own, as they said some seconds ago."""
    columns = [
        Column("WORKER"),
        Column("HOLDS"),
        Column("FREE"),
        Column("TYPES", gives_way=3, shortened=True),
        Column("QUEUES", gives_way=2, shortened=True),
        Column("VERSION", gives_way=1),
        Column("IN", gives_way=1),
        Column("HEARD OF", gives_way=4),
    ]
    with connected(address) as client:
        for worker in client.workers(queue=queue, type=type_):
            if json:
                json_lines.print_json(worker.message)
                continue
            cells = [
                styled(worker.name),
                Text(str(worker.holds)),
                Text(str(worker.free)),
                styled(", ".join(worker.types)),
                styled(", ".join(worker.queues) or "all"),
                styled(worker.version),
                styled("the server" if worker.embedded else worker.language),
                Text(time_text(worker.seen_time)),
            ]
            for column, cell in zip(columns, cells, strict=True):
                column.cells.append(cell)
    if not json:
        print_table(columns)
