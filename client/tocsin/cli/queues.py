"""`tocsin queues`: look after queues. Their settings are in `queue_settings`."""

from __future__ import annotations

from typing import Annotated

import typer

from tocsin.cli import json_lines, options, parsing, printing, queue_limits, queue_settings
from tocsin.cli.connecting import Address, AsJson, connected
from tocsin.cli.texts import counted
from tocsin.enums import State
from tocsin.queues import Queue

app = typer.Typer(
    help="Look after queues: figures, health, settings, pause, resume, delete.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)
app.command("get")(queue_settings.get)
app.command("update")(queue_settings.update)
app.command("limits")(queue_limits.limits)


@app.command("list")
def list_(address: Address = None, json: AsJson = False) -> None:
    """List the queues with their jobs by state."""
    with connected(address) as client:
        if not json:
            printing.print_queues(client.queues())
            return
        for queue in client.queues():
            json_lines.print_json(queue.message)


@app.command()
def health(queue: options.QueueArgument = "default", address: Address = None, json: AsJson = False) -> None:
    """Say whether a queue does its work, and why not. Exits 4 where it does not."""
    with connected(address) as client:
        found = client.queue_health(queue)
        if json:
            json_lines.print_json(found.message)
        else:
            printing.print_health(found)
        if not found.healthy:
            raise typer.Exit(4)


@app.command()
def pause(
    queue: options.QueueArgument = "default",
    reason: Annotated[str, typer.Option(help="Why; shown with the queue.")] = "",
    until: Annotated[
        str, typer.Option(metavar="TIME|SPAN", help="Go on by itself at this time, or after so long: 2h.")
    ] = "",
    address: Address = None,
    json: AsJson = False,
) -> None:
    """Let no attempt begin. Scheduling goes on, running attempts end."""
    end = parsing.moment_ahead(until) if until else None
    with connected(address) as client:
        _show(client.pause(queue, reason=reason, until=end), "paused", json)


@app.command()
def drain(queue: options.QueueArgument = "default", address: Address = None, json: AsJson = False) -> None:
    """Take no new jobs, and end those that the queue has. `resume` ends it."""
    with connected(address) as client:
        _show(client.drain(queue), "draining", json)


@app.command()
def resume(
    queue: options.QueueArgument = "default",
    take_back: Annotated[
        bool,
        typer.Option(
            "--take-back",
            metavar="",
            help="Also a queue that was moved to another store: what ran there runs here a second time.",
        ),
    ] = False,
    address: Address = None,
    json: AsJson = False,
) -> None:
    """Let attempts begin again, and new jobs in."""
    with connected(address) as client:
        _show(client.resume(queue, take_back=take_back), "resumed", json)


@app.command()
def purge(
    queue: options.QueueArgument = "default",
    state: options.States = None,
    type_: options.Types = None,
    ended_before: Annotated[
        str, typer.Option(metavar="TIME|SPAN", help="Only what ended before this time, or so long ago: 7d.")
    ] = "",
    dry_run: options.DryRun = False,
    address: Address = None,
    json: AsJson = False,
) -> None:
    """Delete all jobs in these states, running ones excepted; also those that are not yet due."""
    if not state:
        raise typer.BadParameter("name the states whose jobs go: --state failed", param_hint="--state")
    states = parsing.words(State, state)
    before = parsing.moment(ended_before) if ended_before else None
    with connected(address) as client:
        purged = client.purge(queue, states=states, types=type_ or [], end_before=before, dry_run=dry_run)
        if json:
            json_lines.print_json_line({"purged": purged})
        else:
            print(f"{'would delete' if dry_run else 'deleted'} {counted(purged, 'job')}")


@app.command()
def delete(queue: Annotated[str, typer.Argument(metavar="QUEUE", help="The queue.")], address: Address = None) -> None:
    """Forget a queue in which no job stands. Where jobs do it is refused: cancel them, and purge what has ended."""
    with connected(address) as client:
        client.delete_queue(queue)
        typer.echo(f"queue {queue} deleted")


def _show(queue: Queue, did: str, json: bool) -> None:
    if json:
        json_lines.print_json(queue.message)
    else:
        printing.print_queue(queue, did)
