"""What `tocsin doctor` looks at: configuration, store, doors, the ways out for mail and texts, handlers."""

from __future__ import annotations

import os
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from tocsin.worker.loading import HandlersNotFound, load_handlers

from tocsin_server.domain.errors import TocsinError
from tocsin_server.domain.words import counted
from tocsin_server.doors import certificates_of, jwt_keys_of, open_doors, principals_of
from tocsin_server.messages.probing import probe_mail, probe_sms
from tocsin_server.security.jwt_tokens import FetchedKeys
from tocsin_server.security.reloading import Unusable
from tocsin_server.settings import Settings, secrets_of
from tocsin_server.settings.production import store_unfit_for_production, unfit_for_production
from tocsin_server.store.interface import Durability
from tocsin_server.store.open import StoreUnfit, examined
from tocsin_server.store.refusal_log import words_behind
from tocsin_server.telemetry.redaction import show_address, show_origin, without_secrets

_FORK_SUPPORT = "GRPC_ENABLE_FORK_SUPPORT"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. ok: True fine, None worth knowing, False to be mended."""

    about: str
    ok: bool | None
    says: str


async def examine(settings: Settings) -> list[Finding]:
    """Everything that is worth saying, in the order in which it was looked at, without secrets. Changes nothing."""
    checks: list[Callable[[Settings], Coroutine[Any, Any, list[Finding]]]] = [
        _store,
        _encryption,
        _listen,
        _tls,
        _auth,
        _mail,
        _sms,
        _handlers,
        _forks,
        _production,
    ]
    secrets = secrets_of(settings)
    found = [finding for check in checks for finding in await check(settings)]
    return [replace(finding, says=without_secrets(finding.says, secrets)) for finding in found]


async def _store(settings: Settings) -> list[Finding]:
    where = _where(settings)
    try:
        info, warnings = await examined(settings)
    except StoreUnfit as error:
        return [Finding("store", False, f"{where}: {error}")]
    except TocsinError as error:
        words = words_behind(error)
        return [Finding("store", False, f"{where}: {error}" + (f" ({words})" if words else ""))]
    durability = {
        Durability.EACH_WRITE: "each write is on disk before it is acknowledged",
        Durability.EVERY_SECOND: "written to disk every second",
        Durability.NONE: "none: what was acknowledged may be lost",
        Durability.UNKNOWN: "not known",
    }[info.durability]
    return [
        Finding("store", True, f"{where}: {info.version} answers"),
        Finding("durability", None if info.durability <= Durability.NONE else True, durability),
        *_for_production(settings, store_unfit_for_production(keeps_nothing=info.durability is Durability.NONE)),
        *(Finding("store", None, warning) for warning in warnings),
    ]


def _where(settings: Settings) -> str:
    match settings.store.kind:
        case "embedded":
            return f"embedded, in {settings.data}"
        case "mongo":
            return f"{show_address(settings.store.address())}, collection {settings.store.collection}"
        case "redis":
            return show_address(settings.store.address())


async def _encryption(settings: Settings) -> list[Finding]:
    file = settings.encryption.keyring_file
    if file is None:
        return []
    from tocsin_server.store.encrypting.keyring import KeyringError, read_keyring

    try:
        ring = read_keyring(file)
    except KeyringError as error:
        return [Finding("encryption", False, str(error))]
    says = f"{file}: {counted(len(ring.keys), 'key')}, {ring.primary.key_id} of {ring.primary.made:%Y-%m-%d} encrypts"
    return [Finding("encryption", True, says)]


async def _listen(settings: Settings) -> list[Finding]:
    return [Finding("listen", None, warning) for warning in open_doors(settings)]


async def _tls(settings: Settings) -> list[Finding]:
    try:
        found = certificates_of(settings.tls)
    except Unusable as error:
        return [Finding("tls", False, str(error))]
    if found is None:
        return []
    warning = found.current.warning()
    if warning:
        return [Finding("tls", None if found.current.expires > datetime.now(UTC) else False, warning)]
    asks = "; clients must show a certificate" if settings.tls.client_ca_file is not None else ""
    return [Finding("tls", True, f"the server's certificate is good until {found.current.expires:%Y-%m-%d}{asks}")]


async def _auth(settings: Settings) -> list[Finding]:
    try:
        principals, keys = principals_of(settings.auth), jwt_keys_of(settings.auth.jwt)
        fetched = await keys.fetch() if isinstance(keys, FetchedKeys) else None
    except Unusable as error:
        return [Finding("auth", False, str(error))]
    if principals is None:
        return []
    now = datetime.now(UTC)
    expired = [
        f"{one.name}'s {token.id}" for one in principals.current.each for token in one.tokens if token.expired(now)
    ]
    found = [Finding("auth", True, f"{counted(len(principals.current.each), 'principal', 'principals')} may call")]
    if expired:
        found.append(Finding("auth", None, f"tokens that have expired: {', '.join(expired)}; revoke them"))
    if fetched is not None:
        found.append(Finding("auth", True, f"{settings.auth.jwt.keys} has {counted(len(fetched.keys), 'key', 'keys')}"))
    return found


async def _mail(settings: Settings) -> list[Finding]:
    mail = settings.mail
    if mail.transport is None:
        return [Finding("mail", None, "no transport is set (mail.transport): jobs that send mail fail")]
    trouble = await probe_mail(mail.transport.get_secret_value())
    where = show_address(mail.transport.get_secret_value())
    found = [Finding("mail", trouble is None, f"{where}: {trouble or 'reachable'}")]
    if not mail.sender:
        found.append(Finding("mail", None, "no sender is set (mail.sender): reminders, and mails without `from`, fail"))
    return found


async def _sms(settings: Settings) -> list[Finding]:
    sms = settings.sms
    if sms.url is None:
        return [Finding("sms", None, "no provider is set (sms.url): jobs that send text messages fail")]
    url = sms.url.get_secret_value()
    trouble = await probe_sms(sms)
    found = [Finding("sms", trouble is None, f"{show_origin(url)}: {trouble or 'reachable'}")]
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


async def _forks(settings: Settings) -> list[Finding]:
    given = os.environ.get(_FORK_SUPPORT, "0")
    if given.lower() in ("0", "false", "f", "no", "n", ""):
        return []
    says = (
        f"{_FORK_SUPPORT}={given} switches on fork handlers of gRPC that crash forked processes, of handlers as of "
        "programs with a client (gunicorn --preload, Celery, multiprocessing): unset it, unless other code needs them"
    )
    return [Finding("forks", None, says)]


async def _production(settings: Settings) -> list[Finding]:
    return _for_production(settings, unfit_for_production(settings))


def _for_production(settings: Settings, conditions: Sequence[str]) -> list[Finding]:
    """With `production` a server does not start with any of them."""
    return [Finding("production", False if settings.production else None, condition) for condition in conditions]
