"""The server's certificate, its key, and whose certificates clients must show."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # 40 ms and 8 MB, which servers without TLS need not spend
    from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes, PublicKeyTypes
    from cryptography.x509 import Certificate

from tocsin_server.security.reloading import Unusable, read_file

#: A certificate that ends sooner is warned of.
WARN_AHEAD = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class Certificates:
    """What a server needs to speak TLS, as PEM. With `client_ca` clients must show a certificate that it signed."""

    chain: bytes
    key: bytes = field(repr=False)
    client_ca: bytes | None
    expires: datetime  # the first in the chain

    def warning(self, now: datetime | None = None) -> str:
        """What is to be said of its end, "" while that is far away."""
        left = self.expires - (now or datetime.now(UTC))
        day = f"{self.expires:%Y-%m-%d %H:%M} UTC"
        if left <= timedelta(0):
            return f"the server's certificate has expired ({day}): clients refuse it; put a new one in its place"
        if left <= WARN_AHEAD:
            return f"the server's certificate expires in {left.days} days ({day}): put a new one in its place"
        return ""


def read_certificates(cert_file: Path, key_file: Path, client_ca_file: Path | None) -> Certificates:
    """Unusable where they cannot be read, do not belong together, or the key can be read by others.

    An expired certificate is read, too: a server that does not start would help nobody.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    chain, key = read_file(cert_file), read_file(key_file, secret=True)
    certificates = _certificates(cert_file, chain)
    try:
        own = load_pem_private_key(key, password=None).public_key()
    except TypeError:
        raise Unusable(
            f"{key_file} is encrypted: give a key without a passphrase, which only the server may read"
        ) from None
    except (ValueError, UnsupportedAlgorithm):
        raise Unusable(f"{key_file} is no private key in PEM") from None
    if _same_form(own) != _same_form(certificates[0].public_key()):
        raise Unusable(f"{key_file} is not the key of the first certificate in {cert_file}")
    client_ca = None
    if client_ca_file is not None:
        client_ca = read_file(client_ca_file)
        _certificates(client_ca_file, client_ca)
    return Certificates(chain, key, client_ca, min(one.not_valid_after_utc for one in certificates))


def _certificates(path: Path, pem: bytes) -> list[Certificate]:
    from cryptography import x509

    try:
        found = x509.load_pem_x509_certificates(pem)
    except ValueError:
        found = []
    if not found:
        raise Unusable(f"{path} holds no certificate in PEM")
    return found


def _same_form(key: PublicKeyTypes | CertificatePublicKeyTypes) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
