"""The groups of settings that say who comes in, and how."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, Field, model_validator


class TlsSettings(BaseModel, frozen=True, extra="forbid"):
    """Encrypted connections. Once there is a certificate, nothing but TLS is answered on `listen`.

    The files are read anew when they change; one that cannot be used is logged, and the one before stays in force.
    """

    cert_file: Path | None = Field(
        default=None,
        description="Certificate of this server in PEM, followed by those between it and its root. Absent: no TLS.",
    )
    key_file: Path | None = Field(
        default=None, description="Its private key in PEM, without a passphrase; nobody but the server may read it."
    )
    client_ca_file: Path | None = Field(
        default=None,
        description="Roots in PEM. Clients must then show a certificate that one of them signed. Absent: none is asked "
        "for.",
    )

    @model_validator(mode="after")
    def _agree(self) -> TlsSettings:
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("cert_file and key_file are given together, or neither")
        if self.client_ca_file is not None and self.cert_file is None:
            raise ValueError("client_ca_file needs cert_file and key_file beside it")
        return self
