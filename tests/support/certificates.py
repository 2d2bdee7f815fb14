"""Authorities and certificates of any kind, right and wrong, made in an instant."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate and its key, as files that only their owner may read."""

    cert: Path
    key: Path

    def replace(self, other: Pair) -> None:
        """Have what the other one has from now on, as certbot would: each file in one step, one after the other."""
        for ours, theirs in ((self.cert, other.cert), (self.key, other.key)):
            fresh = ours.with_suffix(".new")
            _write(fresh, theirs.read_bytes())
            fresh.replace(ours)


class Authority:
    """Signs certificates; who trusts the file `ca` trusts them."""

    def __init__(self, folder: Path, name: str = "ca") -> None:
        self._folder, self._name = folder, _name(name)
        folder.mkdir(parents=True, exist_ok=True)
        self._key = ec.generate_private_key(ec.SECP256R1())
        now = datetime.now(UTC)
        made = _builder(self._name, self._name, self._key.public_key(), now - DAY, now + 365 * DAY)
        made = made.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        self.ca = folder / f"{name}.pem"
        self.ca.write_bytes(made.sign(self._key, hashes.SHA256()).public_bytes(Encoding.PEM))

    def sign(self, name: str, *sans: str, expires: timedelta = 90 * DAY, begins: timedelta = -DAY) -> Pair:
        """A certificate of these names: hosts, addresses, URIs; of 127.0.0.1 and localhost where none is said."""
        key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
        made = _builder(_name(name), self._name, key.public_key(), now + begins, now + expires)
        made = made.add_extension(
            x509.SubjectAlternativeName([_san(one) for one in sans or ("127.0.0.1", "localhost")]), critical=False
        )
        pair = Pair(self._folder / f"{name}.pem", self._folder / f"{name}.key")
        _write(pair.cert, made.sign(self._key, hashes.SHA256()).public_bytes(Encoding.PEM))
        _write(pair.key, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        return pair


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, begins: datetime, expires: datetime
) -> x509.CertificateBuilder:
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key)
    return builder.serial_number(x509.random_serial_number()).not_valid_before(begins).not_valid_after(expires)


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _san(name: str) -> x509.GeneralName:
    if "://" in name:
        return x509.UniformResourceIdentifier(name)
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _write(path: Path, content: bytes) -> None:
    path.touch(mode=0o600)
    path.write_bytes(content)
