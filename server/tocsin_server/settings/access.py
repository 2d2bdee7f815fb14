"""The groups of settings that say who comes in, and how."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, model_validator

from tocsin_server.settings.values import Duration, split_names


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


def _keys(value: str) -> str:
    if "://" in value and not value.startswith("https://"):
        raise ValueError("give a file, or an address that begins with https://")
    return value


#: Names of JWS algorithms that sign with a private key.
Algorithm = Literal["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA"]


class JwtSettings(BaseModel, frozen=True, extra="forbid"):
    """JWTs of a provider, as another way to say who calls. Their subjects stand in the file of principals."""

    keys: Annotated[str, AfterValidator(_keys)] | None = Field(
        default=None,
        description="Public keys that sign them: a file (JWKS or PEM) or an https address (JWKS). Absent: no JWTs.",
    )
    issuer: str | None = Field(default=None, description="Who must have issued them, their iss.")
    audience: str | None = Field(default=None, description="Whom they must be for, their aud.")
    algorithms: Annotated[tuple[Algorithm, ...], BeforeValidator(split_names)] = Field(
        default=("RS256", "ES256"),
        description="How they may be signed. RS256 to RS512, PS256 to PS512, ES256, ES384 and EdDSA are known.",
    )
    refresh: Duration = Field(
        default=timedelta(minutes=1),
        ge=timedelta(seconds=5),
        le=timedelta(days=1),
        description="How often keys at an address are fetched anew.",
    )

    @model_validator(mode="after")
    def _agree(self) -> JwtSettings:
        if not self.algorithms:
            raise ValueError("algorithms names none; name at least one")
        if self.keys is not None and not (self.issuer and self.audience):
            raise ValueError("keys need issuer and audience beside them, or JWTs for others would be taken, too")
        return self


class AuthSettings(BaseModel, frozen=True, extra="forbid"):
    """Who may call. Once there is a file of principals, nobody else may: only health answers everybody."""

    principals_file: Path | None = Field(
        default=None,
        description="TOML file of those who may call: their scopes, and the hashes of their tokens, names in client "
        "certificates and subjects of JWTs. Read anew when it changes. Absent: everybody may do everything.",
    )
    jwt: JwtSettings = JwtSettings()

    @model_validator(mode="after")
    def _agree(self) -> AuthSettings:
        if self.jwt.keys is not None and self.principals_file is None:
            raise ValueError("jwt.keys needs principals_file beside it, which says what the subjects of JWTs may do")
        return self
