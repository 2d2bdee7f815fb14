"""How a client comes in: TLS and token, as they were given or as the environment has them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self, TypeAlias

from tocsin.errors import InvalidArgument, WrongType

TOKEN_VARIABLE = "TOCSIN_TOKEN"  # noqa: S105 - its name
TLS_VARIABLE = "TOCSIN_TLS"
CA_VARIABLE, CERT_VARIABLE, KEY_VARIABLE = "TOCSIN_TLS__CA", "TOCSIN_TLS__CERT", "TOCSIN_TLS__KEY"
SERVER_NAME_VARIABLE = "TOCSIN_TLS__SERVER_NAME"

_YES, _NO = ("1", "true", "yes", "on"), ("", "0", "false", "no", "off")


@dataclass(frozen=True, slots=True)
class Tls:
    """An encrypted connection. All are PEM; None: the usual root certificates, and no client certificate."""

    root_certificates: bytes | None = None
    private_key: bytes | None = field(default=None, repr=False)
    certificate_chain: bytes | None = None
    server_name: str | None = None  # what the server's certificate is for, where the address says another name

    @classmethod
    def from_files(
        cls,
        *,
        ca: str | Path | None = None,
        cert: str | Path | None = None,
        key: str | Path | None = None,
        server_name: str | None = None,
    ) -> Self:
        """`ca`: the roots that are trusted; `cert` and `key`: this client's certificate and its key. Read now. Raises
        InvalidArgument."""
        if (cert is None) != (key is None):
            raise InvalidArgument.of("tls", "a client certificate and its key are given together, or neither")
        return cls(_read("ca", ca), _read("key", key), _read("cert", cert), server_name)

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] | None = None) -> Self | None:
        """What TOCSIN_TLS__CA, TOCSIN_TLS__CERT, TOCSIN_TLS__KEY (files) and TOCSIN_TLS__SERVER_NAME say; TOCSIN_TLS=1
        alone: the usual roots. None: none of them is set. Raises InvalidArgument."""
        environ = os.environ if environ is None else environ
        switch = environ.get(TLS_VARIABLE, "").lower()
        if switch not in (*_YES, *_NO):
            raise InvalidArgument.of("tls", f"{TLS_VARIABLE} is {switch!r}: 1 or 0")
        ca, cert, key, name = (
            environ.get(variable) or None
            for variable in (CA_VARIABLE, CERT_VARIABLE, KEY_VARIABLE, SERVER_NAME_VARIABLE)
        )
        if switch in _NO and not any((ca, cert, key, name)):
            return None
        return cls.from_files(ca=ca, cert=cert, key=key, server_name=name)


#: True: TLS with the usual roots; False: none; None: as the environment says.
TlsChoice: TypeAlias = Tls | bool | None


def chosen_tls(tls: TlsChoice) -> Tls | None:
    """What a connection takes. Raises InvalidArgument for files that cannot be read, WrongType."""
    if tls is None:
        return Tls.from_environment()
    if isinstance(tls, bool):
        return Tls() if tls else None
    if not isinstance(tls, Tls):
        raise WrongType.of("tls", f"is a Tls, True or False, not of type {type(tls).__name__}")
    return tls


def chosen_token(token: str | None) -> str | None:
    """The token to send: the one given, "" for none, else TOCSIN_TOKEN. Raises InvalidArgument, WrongType."""
    if token is None:
        token = os.environ.get(TOKEN_VARIABLE, "")
    if not isinstance(token, str):
        raise WrongType.of("token", f"is a text, not of type {type(token).__name__}")
    token = token.strip()
    if not token.isascii() or not token.isprintable() or " " in token:
        raise InvalidArgument.of("token", "is one word of ASCII: what `tocsin token create` printed, or a JWT")
    return token or None


def _read(what: str, path: str | Path | None) -> bytes | None:
    if path is None:
        return None
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise InvalidArgument.of("tls", f"{what}: {path} cannot be read: {error.strerror or error}") from None
