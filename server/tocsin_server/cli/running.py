"""Runs a server until a signal ends it: what `tocsin serve` and `tocsin dev` share."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any

import typer
from tocsin.worker.context import running_job

from tocsin_server.server import CannotStart, Server
from tocsin_server.settings import Flag, Loaded, Settings, SettingsError, load, secrets_of
from tocsin_server.shutdown import ServerFailed, serve
from tocsin_server.store.open import address_trouble
from tocsin_server.telemetry.logs import configure_logs

#: Seconds after which a thread that computes gives way to another that wants to run (Python has 5 ms). A call passes
#: several such hand-overs when a handler's thread never rests, and a probe must be answered within 200 ms all the same.
SWITCH_INTERVAL = 0.0005

FAILED = 1  # exit code: it stopped though nobody asked it to, and should be started again
WRONG_SETTINGS = 2  # exit code: it was not started, something has to be mended first


def loaded_or_exit(
    command: str,
    flags: Sequence[Flag],
    environ: Mapping[str, str],
    config: Path | None,
    defaults: Sequence[Flag] = (),
) -> Loaded:
    """The settings; where they are wrong, a line for each on standard error, and the end with exit code 2."""
    try:
        loaded = load(flags, environ, config, defaults)
    except SettingsError as error:
        raise refusal(command, error.lines) from None
    trouble = address_trouble(loaded.settings)
    if trouble is not None:
        setting, line = trouble
        [source] = [origin.source for origin in loaded.origins if origin.setting == setting]
        raise refusal(command, [f"{source}: {line}"])
    return loaded


def refusal(command: str, lines: Sequence[str]) -> typer.Exit:
    """Say on standard error what is wrong; raise what this returns."""
    for line in lines:
        typer.echo(f"tocsin {command}: {line}", err=True)
    return typer.Exit(WRONG_SETTINGS)


def run_server(
    command: str,
    settings: Settings,
    *,
    hello: bool = False,
    then: Callable[[Server], Awaitable[None]] | None = None,
    before: Callable[[], object] | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT, with `then` beside it. Exit code 2: the server cannot start; 1: it has
    failed.

    `before` is called when the log is set up, before anything is started.
    """
    configure_logs(
        settings.log.level,
        settings.log.format,
        secrets=secrets_of(settings),
        texts=settings.log.texts,
        running_job=running_job,
    )

    if before is not None:
        before()

    async def main() -> None:
        await serve(Server(settings, hello=hello), then)

    try:
        run_on_fast_loop(main())
    except CannotStart as error:
        raise refusal(command, [str(error)]) from None
    except ServerFailed as error:
        typer.echo(f"tocsin {command}: {error}", err=True)
        raise typer.Exit(FAILED) from None


def run_on_fast_loop(main: Coroutine[Any, Any, None]) -> None:
    """Run it on uvloop, which saves a tenth of a call's cost, where there is one."""
    sys.setswitchinterval(SWITCH_INTERVAL)
    if sys.platform == "win32":
        asyncio.run(main)
        return
    import uvloop

    uvloop.run(main)
