"""`tocsin top`: the queues and the workers that do most, with rates and lag, drawn anew every few seconds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer
from rich.text import Text

from tocsin.cli import parsing
from tocsin.cli.connecting import Address, connected
from tocsin.cli.live import EVERY, refreshed
from tocsin.cli.tables import Column, lines
from tocsin.cli.texts import counted, from_now, seconds_text, styled
from tocsin.client import Client
from tocsin.queues import Queue, QueueHealth, StateCounts
from tocsin.workers import WorkerEntry


def top(
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="Queues and workers at most.")] = 20,
    every: Annotated[
        timedelta, typer.Option(parser=parsing.span, metavar="SPAN", help="How often it is drawn anew.")
    ] = f"{EVERY:g}s",  # type: ignore[assignment]  # typer hands the default to the parser
    address: Address = None,
) -> None:
    """Show what queues and workers do: jobs by state, rates, lag, slots.

    q or Ctrl-C ends it; not on a terminal it prints once."""
    with connected(address, retries=True) as client:
        refreshed(lambda room: _drawn(client, limit, room), max(every.total_seconds(), 0.2))


def _drawn(client: Client, limit: int, room: int | None) -> list[Text]:
    queues = list(client.queues())
    busiest = sorted(queues, key=_to_do, reverse=True)[:limit]
    sums = {name: sum(getattr(_counts(queue), name) for queue in queues) for name in StateCounts.__slots__}
    total = ", ".join(f"{number:,} {name}" for name, number in sums.items())
    head = Text(f"{counted(len(queues), 'queue')}: {total}", "bold")
    shown = lines(_columns(client.queue_health(queue.name) for queue in busiest), room)
    return [head, Text(""), *shown, Text(""), *_workers(list(client.workers()), limit, room)]


def _workers(workers: Sequence[WorkerEntry], limit: int, room: int | None) -> list[Text]:
    head = Text(
        f"{counted(len(workers), 'worker')}: {sum(worker.holds for worker in workers):,} jobs held, "
        f"{sum(worker.free for worker in workers):,} slots free",
        "bold",
    )
    now = datetime.now(UTC)
    columns = [
        Column("WORKER", gives_way=3, shortened=True),
        Column("HOLDS"),
        Column("FREE"),
        Column("HEARD OF"),
        Column("RUNS NOW", gives_way=1, shortened=True),
    ]
    for worker in sorted(workers, key=lambda one: (-one.holds, one.name))[:limit]:
        cells = (
            styled(worker.name),
            Text(f"{worker.holds:,}", "cyan" if worker.holds else ""),
            Text(f"{worker.free:,}"),
            Text(from_now(worker.seen_time, now)),
            styled(", ".join(dict.fromkeys(job.type for job in worker.held))),
        )
        for column, cell in zip(columns, cells, strict=True):
            column.cells.append(cell)
    return [head, *([Text(""), *lines(columns, room)] if workers else ())]


def _columns(found: Iterable[QueueHealth]) -> list[Column]:
    columns = [
        Column("QUEUE"),
        Column("HEALTH"),
        Column("WAITING"),
        Column("ACTIVE"),
        Column("SCHEDULED", gives_way=3),
        Column("FAILED"),
        Column("DONE/S"),
        Column("FAILED/S", gives_way=4),
        Column("LAG"),
        Column("OLDEST", gives_way=2),
        Column("WHY", gives_way=1, shortened=True),
    ]
    for health in found:
        counts = health.counts
        state = Text("ok", "green") if health.healthy else Text("BAD", "bold red")
        cells = (
            styled(health.queue),
            Text("paused", "yellow") if health.paused else state,
            Text(f"{counts.waiting:,}"),
            Text(f"{counts.active:,}", "cyan"),
            Text(f"{counts.scheduled:,}"),
            Text(f"{counts.failed:,}", "red" if counts.failed else ""),
            Text(f"{health.completed_per_second:.2f}"),
            Text(f"{health.failed_per_second:.2f}"),
            Text(seconds_text(health.lag)),
            Text(seconds_text(health.oldest_waiting_age)),
            styled(health.error or "; ".join(health.warnings)),
        )
        for column, cell in zip(columns, cells, strict=True):
            column.cells.append(cell)
    return columns


def _counts(queue: Queue) -> StateCounts:
    return queue.counts or StateCounts()


def _to_do(queue: Queue) -> tuple[int, int, int]:
    counts = _counts(queue)
    return counts.waiting + counts.active, counts.failed, counts.scheduled
