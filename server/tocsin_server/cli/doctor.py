"""tocsin doctor"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable, Coroutine
from dataclasses import asdict, dataclass
from typing import Annotated, Any

import typer
from tocsin.worker.loading import HandlersNotFound, load_handlers

from tocsin_server.cli import options
from tocsin_server.cli.running import loaded_or_exit
from tocsin_server.domain.errors import TocsinError
from tocsin_server.handlers.mail.probing import probe_mail
from tocsin_server.handlers.sms.probing import probe_sms
from tocsin_server.handlers.sms.settings import SmsSettings
from tocsin_server.settings import Loaded, Origin, Settings, secrets_of
from tocsin_server.store.interface import Durability
from tocsin_server.store.opening import StoreUnfit, examined
from tocsin_server.telemetry.logs import configure_logs
from tocsin_server.telemetry.redaction import redact_url

_TO_MEND = 1  # exit code


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. ok: True fine, None worth knowing, False to be mended."""

    about: str
    ok: bool | None
    says: str


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("doctor")(doctor)


def doctor(
    context: typer.Context,
    config: options.Config = None,
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
    log_level: options.LogLevel = None,
    log_format: options.LogFormat = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Check the configuration and the store, and say what to mend. Changes nothing.

    Takes the settings as `tocsin serve` would. Exit code 0: all is well; 1: something is to be mended; 2: the settings
    are wrong.
    """
    loaded = loaded_or_exit("doctor", options.flags_of(context.params), os.environ, config)
    configure_logs("error", "console", secrets=secrets_of(loaded.settings))
    findings = asyncio.run(_examine(loaded.settings))
    if as_json:
        typer.echo(json.dumps(_as_object(loaded, findings), indent=2))
    else:
        _print(loaded, findings)
    if any(finding.ok is False for finding in findings):
        raise typer.Exit(_TO_MEND)


async def _examine(settings: Settings) -> list[Finding]:
    checks: list[Callable[[Settings], Coroutine[Any, Any, list[Finding]]]] = [_store, _mail, _sms, _handlers]
    return [finding for check in checks for finding in await check(settings)]


async def _store(settings: Settings) -> list[Finding]:
    where = _where(settings)
    try:
        info, warnings = await examined(settings)
    except (StoreUnfit, TocsinError) as error:
        return [Finding("store", False, f"{where}: {error}")]
    durability = {
        Durability.EACH_WRITE: "each write is on disk before it is acknowledged",
        Durability.EVERY_SECOND: "written to disk every second",
        Durability.NONE: "none: what was acknowledged may be lost",
        Durability.UNKNOWN: "not known",
    }[info.durability]
    return [
        Finding("store", True, f"{where}: {info.version} answers"),
        Finding("durability", None if info.durability <= Durability.NONE else True, durability),
        *(Finding("store", None, warning) for warning in warnings),
    ]


def _where(settings: Settings) -> str:
    match settings.store.kind:
        case "embedded":
            return f"embedded, in {settings.data}"
        case "mongo":
            return f"{redact_url(settings.store.address())}, collection {settings.store.collection}"
        case "redis":
            return redact_url(settings.store.address())


async def _mail(settings: Settings) -> list[Finding]:
    mail = settings.mail
    if mail.transport is None:
        return [Finding("mail", None, "no transport is set (mail.transport): jobs that send mail fail")]
    trouble = await probe_mail(mail.transport.get_secret_value())
    where = redact_url(mail.transport.get_secret_value())
    found = [Finding("mail", trouble is None, f"{where}: {trouble or 'reachable'}")]
    if not mail.sender:
        found.append(Finding("mail", None, "no sender is set (mail.sender): reminders, and mails without `from`, fail"))
    return found


async def _sms(settings: Settings) -> list[Finding]:
    sms = settings.sms
    if sms.url is None:
        return [Finding("sms", None, "no provider is set (sms.url): jobs that send text messages fail")]
    url = sms.url.get_secret_value()
    password = sms.password.get_secret_value() if sms.password else None
    trouble = await probe_sms(SmsSettings(url, sms.form, sms.user, password, sms.sender))
    where = redact_url(url).partition("?")[0]  # the query is often a secret
    found = [Finding("sms", trouble is None, f"{where}: {trouble or 'reachable'}")]
    if not sms.sender and sms.form == "twilio" and not url.startswith("file:"):
        found.append(Finding("sms", None, "no sender is set (sms.sender): reminders, and texts without `from`, fail"))
    return found


async def _handlers(settings: Settings) -> list[Finding]:
    findings = []
    for spec in settings.handlers:
        try:
            types = ", ".join(sorted(load_handlers(spec))) or "no types"
        except HandlersNotFound as error:
            findings.append(Finding("handlers", False, str(error)))
        else:
            findings.append(Finding("handlers", True, f"{spec}: {types}"))
    return findings


def _as_object(loaded: Loaded, findings: list[Finding]) -> dict[str, Any]:
    return {
        "ok": all(finding.ok is not False for finding in findings),
        "settings": [asdict(origin) for origin in loaded.origins],
        "findings": [asdict(finding) for finding in findings],
    }


def _print(loaded: Loaded, findings: list[Finding]) -> None:
    width = max(len(origin.setting) for origin in loaded.origins)
    shown = max(len(origin.shown) for origin in loaded.origins)
    typer.echo("Settings")
    for origin in loaded.origins:
        typer.echo(f"  {origin.setting:{width}}  {origin.shown:{shown}}  {_told(origin)}")
    typer.echo("\nFindings")
    for finding in findings:
        mark = {True: "ok  ", None: "note", False: "MEND"}[finding.ok]
        typer.echo(f"  {mark}  {finding.about}: {finding.says}")


def _told(origin: Origin) -> str:
    """Where a value came from: "REDIS_HOST (not used: QUEUE_PROVIDER says mongo; before store.host in tocsin.toml)"."""
    notes = [f"not used: {origin.unused}"] if origin.unused else []
    if origin.over:
        notes.append(f"before {', '.join(origin.over)}")
    return origin.source + (f" ({'; '.join(notes)})" if notes else "")
