"""tocsin doctor"""

from __future__ import annotations

import asyncio
import json
import os
from dataclasses import asdict
from typing import Annotated, Any

import typer

from tocsin_server.cli import options
from tocsin_server.cli.checks import Finding, examine
from tocsin_server.cli.running import loaded_or_exit
from tocsin_server.settings import DEFAULT, NOTHING, Loaded, Origin, secrets_of
from tocsin_server.settings.store import BELONGS
from tocsin_server.telemetry.logs import configure_logs

_TO_MEND = 1  # exit code
_ORDER = (False, None, True)  # of findings: the worst first


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("doctor")(doctor)


def doctor(
    context: typer.Context,
    config: options.Config = None,
    production: options.Production = False,
    listen: options.Listen = None,
    provider: options.Provider = None,
    redis_url: options.RedisUrl = None,
    mongodb_url: options.MongodbUrl = None,
    collection: options.Collection = None,
    data: options.Data = None,
    namespace: options.Namespace = None,
    handlers: options.HandlerModules = None,
    queues: options.Queues = None,
    no_dispatch: options.NoDispatch = False,
    concurrency: options.Concurrency = None,
    type_concurrency: options.TypeConcurrency = None,
    lease: options.Lease = None,
    tick: options.TickEvery = None,
    grace: options.Grace = None,
    mail: options.Mail = None,
    mail_from: options.MailFrom = None,
    templates: options.Templates = None,
    metrics: options.Metrics = None,
    log_level: options.LogLevel = None,
    log_format: options.LogFormat = None,
    everything: Annotated[
        bool, typer.Option("--all", metavar="", help="Show the settings that have their defaults, too.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", metavar="", help="Print one JSON object.")] = False,
) -> None:
    """Check the configuration and the store, and say what to mend. Changes nothing.

    Takes the settings as `tocsin serve` would. Exit code 0: all is well; 1: something is to be mended; 2: the settings
    are wrong. Shown are what was found, the worst first, and the settings that somebody gave.
    """
    loaded = loaded_or_exit("doctor", options.flags_of(context.params), os.environ, config)
    configure_logs("error", "console", secrets=secrets_of(loaded.settings))
    findings = asyncio.run(examine(loaded.settings))
    if as_json:
        typer.echo(json.dumps(_as_object(loaded, findings), indent=2))
    else:
        _print(loaded, findings, everything=everything)
    if any(finding.ok is False for finding in findings):
        raise typer.Exit(_TO_MEND)


def _as_object(loaded: Loaded, findings: list[Finding]) -> dict[str, Any]:
    return {
        "ok": all(finding.ok is not False for finding in findings),
        "settings": [asdict(origin) for origin in loaded.origins],
        "findings": [asdict(finding) for finding in findings],
    }


def _print(loaded: Loaded, findings: list[Finding], *, everything: bool) -> None:
    typer.echo("Findings")
    for finding in sorted(findings, key=lambda finding: _ORDER.index(finding.ok)):
        mark = {True: "ok  ", None: "note", False: "MEND"}[finding.ok]
        typer.echo(f"  {mark}  {finding.about}: {finding.says}")
    origins = [origin for origin in loaded.origins if everything or _tells(origin)]
    left_out = len(loaded.origins) - len(origins)
    typer.echo(f"\nSettings ({left_out} more have their defaults: --all)" if left_out else "\nSettings")
    width = max(len(origin.setting) for origin in origins)
    shown = max(len(origin.shown) for origin in origins)
    for origin in origins:
        typer.echo(f"  {origin.setting:{width}}  {origin.shown:{shown}}  {_told(origin)}")


def _tells(origin: Origin) -> bool:
    """Somebody set it, or it says where the server is and where its store."""
    group, _, name = origin.setting.rpartition(".")
    where = origin.setting == "listen" or (group == "store" and (name == "provider" or name in BELONGS))
    return origin.source != DEFAULT or (where and origin.shown != NOTHING)


def _told(origin: Origin) -> str:
    """Where a value came from: "REDIS_HOST (not used: QUEUE_PROVIDER says mongo; before store.host in tocsin.toml)"."""
    notes = [f"not used: {origin.unused}"] if origin.unused else []
    if origin.over:
        notes.append(f"before {', '.join(origin.over)}")
    return origin.source + (f" ({'; '.join(notes)})" if notes else "")
