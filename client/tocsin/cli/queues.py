"""`tocsin queues`: look after queues. Their settings are in `queue_settings`."""

from __future__ import annotations

from typing import Annotated, TypeAlias

import typer

from tocsin.cli import printing, queue_settings
from tocsin.cli.connecting import Address, AsJson, connected
from tocsin.queues import Queue

app = typer.Typer(help="Look after queues: figures, health, settings, pause and resume.", no_args_is_help=True)
app.command("get")(queue_settings.get)
app.command("update")(queue_settings.update)

Name: TypeAlias = Annotated[str, typer.Argument(metavar="[QUEUE]", help="The queue.")]


@app.command("list")
def list_(address: Address = None, json: AsJson = False) -> None:
    """List the queues with their jobs by state."""
    with connected(address) as client:
        if not json:
            printing.print_queues(client.queues())
            return
        for queue in client.queues():
            printing.print_json(queue.message)


@app.command()
def health(queue: Name = "default", address: Address = None, json: AsJson = False) -> None:
    """Say whether a queue does its work, and why not. Exits 4 where it does not."""
    with connected(address) as client:
        found = client.queue_health(queue)
        if json:
            printing.print_json(found.message)
        else:
            printing.print_health(found)
        if not found.healthy:
            raise typer.Exit(4)


@app.command()
def pause(
    queue: Name = "default",
    reason: Annotated[str, typer.Option(help="Why; shown with the queue.")] = "",
    address: Address = None,
    json: AsJson = False,
) -> None:
    """Let no attempt begin. Scheduling goes on, running attempts end."""
    with connected(address) as client:
        _show(client.pause(queue, reason=reason), "paused", json)


@app.command()
def resume(
    queue: Name = "default",
    take_back: Annotated[
        bool,
        typer.Option(
            "--take-back", help="Also a queue that was moved to another store: what ran there runs here a second time."
        ),
    ] = False,
    address: Address = None,
    json: AsJson = False,
) -> None:
    """Let attempts begin again."""
    with connected(address) as client:
        _show(client.resume(queue, take_back=take_back), "resumed", json)


def _show(queue: Queue, did: str, json: bool) -> None:
    if json:
        printing.print_json(queue.message)
    else:
        printing.print_queue(queue, did)
