"""Runs a server until a signal ends it: what `tocsin serve` and `tocsin dev` share."""

from __future__ import annotations

import asyncio
import gc
import os
import sys
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any

import typer
from structlog.typing import Processor
from tocsin import tracing
from tocsin.worker.context import running_job

from tocsin_server.server import CannotStart, Server
from tocsin_server.settings import FileSecret, Flag, Loaded, Settings, SettingsError, load, secrets_of
from tocsin_server.shutdown import ServerFailed, serve
from tocsin_server.store.open import address_trouble
from tocsin_server.telemetry.logs import configure_logs
from tocsin_server.telemetry.redaction import Secrets

#: Seconds after which a thread that computes gives way to another that wants to run (Python has 5 ms). A call passes
#: several such hand-overs when a handler's thread never rests, and a probe must be answered within 200 ms all the same.
SWITCH_INTERVAL = 0.0005

#: So many objects more than have gone, and Python looks for rings of objects that nobody refers to (it has 700). A
#: batch makes tens of thousands at once, and hardly anything here makes rings: the looks were a tenth or more
#: of a job's time.
LOOK_FOR_RINGS_AFTER = 25_000

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
    withhold_from_children(loaded.secret_variables)
    trouble = address_trouble(loaded.settings)
    if trouble is not None:
        setting, line = trouble
        [source] = [origin.source for origin in loaded.origins if origin.setting == setting]
        raise refusal(command, [f"{source}: {line}"])
    return loaded


def withhold_from_children(variables: Sequence[str]) -> None:
    """Processes that are started from here do not inherit these: handlers' own, the embedded store, and whatever a
    handler starts. What runs in this process still finds them in os.environ."""
    for variable in variables:
        os.unsetenv(variable)


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
    beside: bool = False,
    lines: Processor | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT, with `then` beside it. Exit code 2: the server cannot start; 1: it has
    failed.

    `before` is called when the log is set up, before anything is started. `beside`: others serve on the same address.
    `lines` renders the log where log.format leaves it open.
    """
    set_up_logs(settings, lines)
    if settings.tracing.enabled:
        _set_up_tracing(command)
    if before is not None:
        before()

    async def started(server: Server) -> None:
        spare_collections()
        if then is not None:
            await then(server)

    async def main() -> None:
        await serve(Server(settings, hello=hello, beside=beside), started)

    run_to_exit_code(command, main())


def _set_up_tracing(command: str) -> None:
    try:
        tracing.set_up("tocsin-server")
    except tracing.NoOpenTelemetry as error:
        raise refusal(command, [f"tracing.enabled: {error}"]) from None


def set_up_logs(settings: Settings, lines: Processor | None = None) -> None:
    """As the settings say; once a process. `lines` renders it where they leave it open."""
    secrets = Secrets(secrets_of(settings))
    FileSecret.on_change = secrets.add_value
    configure_logs(
        settings.log.level,
        settings.log.format,
        secrets=secrets,
        texts=settings.log.texts,
        running_job=running_job,
        auto=lines,
    )


def run_to_exit_code(command: str, main: Coroutine[Any, Any, None]) -> None:
    """Run it; say on standard error why it ended though nobody asked, with the exit code of that."""
    try:
        run_on_fast_loop(main)
    except CannotStart as error:
        raise refusal(command, str(error).splitlines()) from None
    except ServerFailed as error:
        typer.echo(f"tocsin {command}: {error}", err=True)
        raise typer.Exit(FAILED) from None


def spare_collections() -> None:
    """Take what stands now out of Python's looks for rings, and let it look more rarely. Modules and descriptors are
    some 100,000 objects: each whole look at them stopped every job and call for 50 to 100 ms."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(LOOK_FOR_RINGS_AFTER)


def run_on_fast_loop(main: Coroutine[Any, Any, None]) -> None:
    """Run it on uvloop, which saves a tenth of a call's cost, where there is one."""
    sys.setswitchinterval(SWITCH_INTERVAL)
    if sys.platform == "win32":
        asyncio.run(main)
        return
    import uvloop

    uvloop.run(main)
