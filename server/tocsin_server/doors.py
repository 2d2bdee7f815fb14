"""The doors of a server: TLS on its port, read anew while it serves, and how much those who come in may take up."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime

import grpc
import structlog

from tocsin_server.api.connections import Connections
from tocsin_server.api.grpc_server import CallLimits
from tocsin_server.api.tls import tls_credentials
from tocsin_server.security.certificates import Certificates, read_certificates
from tocsin_server.security.reloading import Looking, Reloaded
from tocsin_server.settings import Settings, TlsSettings, is_loopback

_log: structlog.typing.FilteringBoundLogger = structlog.get_logger("tocsin.server")


class Doors:
    """Who can come in, and how. Raises Unusable where a file that says so cannot be used."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._certificates = certificates_of(settings.tls)
        self._warned: date | None = None  # of the certificate's end
        self._looking = Looking(self._look)

    @property
    def credentials(self) -> grpc.ServerCredentials | None:
        """TLS, None where none is set."""
        if self._certificates is None:
            return None
        certificates = self._certificates
        return tls_credentials(lambda: certificates.current)

    @property
    def limits(self) -> CallLimits:
        """How many calls may be open."""
        calls = self._settings.calls
        return CallLimits(
            calls=calls.open,
            watches=calls.watches,
            workers=calls.workers,
            transfers=calls.transfers,
            watches_per_client=calls.watches_per_client,
            transfers_per_client=calls.transfers_per_client,
            request_bytes=calls.request_bytes,
            idle=calls.idle,
        )

    @property
    def connections(self) -> Connections:
        """How long connections last, and what may be on one."""
        return Connections(**dict(self._settings.connections))

    def start(self) -> None:
        """Begin to look at the files."""
        if self._certificates is not None:
            self._looking.start()

    async def close(self) -> None:
        """Look no more."""
        await self._looking.close()

    def warnings(self) -> Sequence[str]:
        """What is to be said at the start."""
        said = []
        if not is_loopback(listen := self._settings.listen) and self._certificates is None:
            said.append(
                f"{listen} can be reached from other machines, and whoever reaches it can read, change and "
                "delete every job: there is neither TLS nor a login. Listen on 127.0.0.1, or let only those in whom "
                "you trust."
            )
        return said

    def _look(self) -> None:
        if self._certificates is not None:
            self._certificates.look()
            today = datetime.now(UTC).date()
            if (warning := self._certificates.current.warning()) and today != self._warned:
                self._warned = today
                _log.warning(warning)


def certificates_of(tls: TlsSettings) -> Reloaded[Certificates] | None:
    """The certificate of this server, None where it has none. Unusable."""
    cert_file, key_file, client_ca_file = tls.cert_file, tls.key_file, tls.client_ca_file
    if cert_file is None or key_file is None:
        return None
    paths = [path for path in (cert_file, key_file, client_ca_file) if path is not None]
    return Reloaded("TLS certificates", paths, lambda: read_certificates(cert_file, key_file, client_ca_file))
