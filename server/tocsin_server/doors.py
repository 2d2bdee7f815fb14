"""The doors of a server: TLS on its port, who is let in, and how much those who come in may take up. What says so is
read anew while the server runs."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path

import grpc
import structlog

from tocsin_server.api.call_limits import CallLimits
from tocsin_server.api.connections import Connections
from tocsin_server.api.interceptors.audit import Audit
from tocsin_server.api.interceptors.auth import Auth
from tocsin_server.api.interceptors.call import Interceptor
from tocsin_server.api.tls import tls_credentials
from tocsin_server.security.authentication import Authentication
from tocsin_server.security.certificates import Certificates, read_certificates
from tocsin_server.security.jwt_tokens import FetchedKeys, JwtTokens, KeySet, keys_in_file
from tocsin_server.security.principals import Principals, read_principals
from tocsin_server.security.reloading import Looking, Reloaded
from tocsin_server.settings import AuthSettings, JwtSettings, Settings, TlsSettings, is_loopback
from tocsin_server.telemetry.audit_log import AuditLog

_log: structlog.typing.FilteringBoundLogger = structlog.get_logger("tocsin.server")


class Doors:
    """Who can come in, and how. Raises Unusable where a file that says so cannot be used,
    AuditUnusable where its audit log cannot be written."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._certificates = certificates_of(settings.tls)
        self._principals = principals_of(settings.auth)
        self._jwt_keys = jwt_keys_of(settings.auth.jwt)
        self._warned: date | None = None  # of the certificate's end
        self.auth: Auth | None = None  # None: everybody is let in
        if self._principals is not None:
            principals = self._principals
            jwt = self._jwt(self._jwt_keys) if self._jwt_keys is not None else None
            self.auth = Auth(Authentication(lambda: principals.current, jwt).principal)
        self._audit_log = None if settings.audit.to is None else AuditLog(settings.audit.to)
        self._looking = Looking(self._look)

    @property
    def credentials(self) -> grpc.ServerCredentials | None:
        """TLS, None where none is set."""
        if self._certificates is None:
            return None
        certificates = self._certificates
        return tls_credentials(lambda: certificates.current)

    @property
    def certificates(self) -> Certificates | None:
        """What TLS is spoken with at the moment, None where it is not."""
        return None if self._certificates is None else self._certificates.current

    @property
    def token_hashes(self) -> list[str] | None:
        """The hashes of all tokens at the moment; None: everybody is let in."""
        if self._principals is None:
            return None
        return [token.sha256 for one in self._principals.current.each for token in one.tokens]

    @property
    def limits(self) -> CallLimits:
        """How many calls may be open."""
        calls = self._settings.calls
        return CallLimits(
            calls=calls.open,
            watches=calls.watches,
            workers=calls.workers,
            transfers=calls.transfers,
            calls_per_client=calls.open_per_client,
            watches_per_client=calls.watches_per_client,
            workers_per_client=calls.workers_per_client,
            transfers_per_client=calls.transfers_per_client,
            request_bytes=calls.request_bytes,
            request_bytes_per_client=calls.request_bytes_per_client,
            per_second_per_client=calls.per_second_per_client,
            burst_per_client=calls.burst_per_client,
            exempt=frozenset(calls.exempt_clients),
            idle=calls.idle,
        )

    @property
    def connections(self) -> Connections:
        """How long connections last, and what may be on one."""
        return Connections(**dict(self._settings.connections))

    def audit(self, server: str) -> Audit | None:
        """Tells what this server was asked to do; None where nothing is to be told."""
        if self._audit_log is None:
            return None
        told = self._settings.audit
        return Audit(self._audit_log, server, include_reads=told.include_reads, required=told.required)

    @property
    def spans(self) -> Interceptor | None:
        """Traces the calls; None where nobody wants that."""
        if not self._settings.tracing.enabled:
            return None
        from tocsin_server.api.interceptors.call_spans import CallSpans  # loads OpenTelemetry, which few have

        return CallSpans()

    def start(self) -> None:
        """Begin to look at the files; SIGHUP has them looked at now, and the audit log opened anew."""
        if self._hears_hangup:
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._hung_up)
        if self._certificates is not None or self._principals is not None:
            self._looking.start()
        if isinstance(self._jwt_keys, FetchedKeys):
            self._jwt_keys.start()

    async def close(self) -> None:
        """Look no more, and end the audit log."""
        await self._looking.close()
        if self._hears_hangup:
            asyncio.get_running_loop().remove_signal_handler(signal.SIGHUP)
        if self._audit_log is not None:
            self._audit_log.close()
        if isinstance(self._jwt_keys, FetchedKeys):
            await self._jwt_keys.close()

    @property
    def _hears_hangup(self) -> bool:
        return heeds_hangup(self._settings) and threading.current_thread() is threading.main_thread()

    def _hung_up(self) -> None:
        if self._audit_log is not None:
            self._audit_log.reopen()
        self._look()

    def warnings(self) -> Sequence[str]:
        """What is to be said at the start."""
        return open_doors(self._settings)

    def _jwt(self, keys: Reloaded[KeySet] | FetchedKeys) -> JwtTokens:
        jwt = self._settings.auth.jwt
        tokens = JwtTokens(
            lambda: keys.current, issuer=jwt.issuer or "", audience=jwt.audience or "", algorithms=jwt.algorithms
        )
        if isinstance(keys, FetchedKeys):
            tokens.unknown_key = keys.want
        return tokens

    def _look(self) -> None:
        if self._certificates is not None:
            self._certificates.look()
            today = datetime.now(UTC).date()
            if (warning := self._certificates.current.warning()) and today != self._warned:
                self._warned = today
                _log.warning(warning)
        if self._principals is not None:
            self._principals.look()
        if isinstance(self._jwt_keys, Reloaded):
            self._jwt_keys.look()
        if self.auth is not None:
            self.auth.recheck()


def heeds_hangup(settings: Settings) -> bool:
    """Whether SIGHUP means "look at your files": where there are any. Else it ends the process, as when its terminal
    is closed."""
    files = settings.tls.cert_file, settings.auth.principals_file, settings.audit.to
    return any(one is not None for one in files)


def open_doors(settings: Settings) -> Sequence[str]:
    """What is to be said of doors that stand open to other machines."""
    tls, auth = settings.tls, settings.auth
    web = settings.web.listen
    doors = [("", settings.listen), *([("the dashboard on ", web)] if web is not None else [])]
    said = []
    for what, listen in doors:
        if is_loopback(listen):
            continue
        if auth.principals_file is None and tls.client_ca_file is None:
            missing = "is no login" if tls.cert_file is not None else "is neither TLS nor a login"
            said.append(
                f"{what}{listen} can be reached from other machines, and whoever reaches it can read, change and "
                f"delete every job: there {missing}. Listen on 127.0.0.1, or let only those in whom you trust."
            )
        elif tls.cert_file is None:
            said.append(
                f"{what}{listen} can be reached from other machines without TLS, so that tokens and payloads can be "
                "read on the way. Set tls.cert_file and tls.key_file."
            )
    return said


def certificates_of(tls: TlsSettings) -> Reloaded[Certificates] | None:
    """The certificate of this server, None where it has none. Unusable."""
    cert_file, key_file, client_ca_file = tls.cert_file, tls.key_file, tls.client_ca_file
    if cert_file is None or key_file is None:
        return None
    paths = [path for path in (cert_file, key_file, client_ca_file) if path is not None]
    return Reloaded("TLS certificates", paths, lambda: read_certificates(cert_file, key_file, client_ca_file))


def principals_of(auth: AuthSettings) -> Reloaded[Principals] | None:
    """Who may call, None where everybody may. Unusable."""
    path = auth.principals_file
    return None if path is None else Reloaded("principals", [path], lambda: read_principals(path))


def jwt_keys_of(jwt: JwtSettings) -> Reloaded[KeySet] | FetchedKeys | None:
    """The keys of JWTs, None where there are no JWTs. Unusable."""
    if jwt.keys is None:
        return None
    if jwt.keys.startswith("https://"):
        return FetchedKeys(jwt.keys, jwt.refresh)
    return keys_in_file(Path(jwt.keys))
