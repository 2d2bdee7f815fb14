"""tocsin reencrypt"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from tocsin_server.cli import options
from tocsin_server.cli.running import loaded_or_exit, refusal
from tocsin_server.domain.errors import TocsinError
from tocsin_server.domain.words import counted
from tocsin_server.operations.reencrypting import count_jobs, reencrypt
from tocsin_server.settings import Settings, secrets_of
from tocsin_server.store.encrypting.resealing import Resealer, Resealing
from tocsin_server.store.encrypting.store import EncryptingStore
from tocsin_server.store.open import StoreUnfit, joined_store
from tocsin_server.telemetry.logs import configure_logs

_COMMAND = "reencrypt"
_NO_RING = "there is no key ring: make one with `tocsin keys create FILE`, and name it in encryption.keyring_file"
_UNFINISHED, _INTERRUPTED = 1, 130  # exit codes


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(_COMMAND)(reencrypt_)


def reencrypt_(
    context: typer.Context,
    config: options.Config = None,
    provider: options.Provider = None,
    redis_url: options.RedisUrl = None,
    mongodb_url: options.MongodbUrl = None,
    collection: options.Collection = None,
    data: options.Data = None,
    namespace: options.Namespace = None,
) -> None:
    """Encrypt all that stands in the store with the primary key of the ring: after `tocsin keys rotate`, and once where
    a store held clear jobs before.

    Takes the settings as `tocsin serve` would. Servers go on meanwhile, and jobs with them: to these nothing changes.
    Break it off at any time; run again, it passes over what is done. Exit code 0: all that stands is encrypted with
    that key, and the others may be removed; 1: something could not be decrypted, or the store was away.
    """
    loaded = loaded_or_exit(_COMMAND, options.flags_of(context.params), os.environ, config)
    settings = loaded.settings
    if settings.encryption.keyring_file is None:
        raise refusal(_COMMAND, [_NO_RING])
    configure_logs("error", "console", secrets=secrets_of(settings))
    done = Resealing()
    try:
        asyncio.run(_run(settings, done))
    except StoreUnfit as error:
        raise refusal(_COMMAND, [str(error)]) from None
    except TocsinError as error:
        typer.echo(f"{_figures(done)}\ntocsin {_COMMAND}: {error} Run it again: what is done is passed over.", err=True)
        raise typer.Exit(_UNFINISHED) from None
    except KeyboardInterrupt:
        typer.echo(f"{_figures(done)}\nbroken off; run it again: what is done is passed over", err=True)
        raise typer.Exit(_INTERRUPTED) from None
    typer.echo(_figures(done))
    for line in done.named:
        typer.echo(f"tocsin {_COMMAND}: {line}", err=True)
    if done.unreadable or done.left:
        raise typer.Exit(_UNFINISHED)


async def _run(settings: Settings, done: Resealing) -> None:
    async with joined_store(settings) as made:
        store = made.store
        await store.open()
        if not isinstance(store, EncryptingStore):
            raise AssertionError("a store of settings with a key ring is an encrypting one")
        resealer = Resealer(store, done)
        with _bar(await count_jobs(resealer)) as tell:
            await reencrypt(resealer, tell)


def _figures(done: Resealing) -> str:
    said = (
        f"{counted(done.jobs, 'job')} looked at, {done.sealed:,} encrypted anew, with {counted(done.lines, 'line')} of "
        f"log, {counted(done.notes, 'note')} and {counted(done.schedules, 'schedule')}"
    )
    if done.unreadable:
        said += f"; {done.unreadable:,} could not be decrypted, and stay as they are"
    if done.left:
        said += f"; {counted(done.left, 'job')} kept changing: run it again"
    return said


@contextmanager
def _bar(total: int) -> Iterator[Callable[[Resealing], None]]:
    """How far it is, on a terminal alone."""
    if not sys.stderr.isatty():
        yield lambda done: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("encrypting", total=total)
        yield lambda done: progress.update(task, completed=done.jobs)
