"""TLS of the port that callers connect to."""

from __future__ import annotations

from collections.abc import Callable

import grpc

from tocsin_server.security.certificates import Certificates


def tls_credentials(current: Callable[[], Certificates]) -> grpc.ServerCredentials:
    """TLS with the certificate that `current` gives at each new connection; those that stand keep theirs.

    Where it has a `client_ca`, clients must show a certificate. That cannot come or go while the server runs, nor can
    they be let choose: gRPC knows "required" and "not asked for" in Python. Nor can it be told a lowest version: it is
    TLS 1.2.
    """
    given = current()

    def changed() -> grpc.ServerCertificateConfiguration | None:
        nonlocal given
        newest = current()
        if newest is given:
            return None
        given = newest
        return _configuration(newest)

    return grpc.dynamic_ssl_server_credentials(
        _configuration(given),
        changed,  # type: ignore[arg-type]  # None stands for no change, which its stubs do not know
        require_client_authentication=given.client_ca is not None,
    )


def _configuration(certificates: Certificates) -> grpc.ServerCertificateConfiguration:
    return grpc.ssl_server_certificate_configuration([(certificates.key, certificates.chain)], certificates.client_ca)
