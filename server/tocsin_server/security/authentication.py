"""Who calls: found out by a token, a JWT or the names in a client certificate."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from tocsin_server.domain.errors import NotAuthenticated
from tocsin_server.security.jwt_tokens import BadJwt, JwtTokens
from tocsin_server.security.principals import Principal, Principals, hash_of

_HOW = "Send `authorization: Bearer TOKEN`"


@dataclass(frozen=True, slots=True)
class Credentials:
    """What came with a call: the whole `authorization`, None where there is none; and names in its certificate."""

    authorization: str | None
    certificate: Sequence[str] = ()


class Authentication:
    """Says who shows which credentials, by what is in force at the moment."""

    def __init__(self, principals: Callable[[], Principals], jwt: JwtTokens | None = None) -> None:
        self._principals = principals
        self._jwt = jwt

    def principal(self, credentials: Credentials) -> Principal:
        """Who shows them. A token goes before a certificate, also one that is not accepted. NotAuthenticated."""
        principals = self._principals()
        if credentials.authorization is not None:
            scheme, _, token = credentials.authorization.partition(" ")
            token = token.strip()
            if scheme.lower() != "bearer" or not token:
                raise NotAuthenticated(f"the call's `authorization` is no bearer token. {_HOW}.")
            return self._of_token(principals, token)
        for name in credentials.certificate:
            if (found := principals.by_certificate.get(name)) is not None:
                return found
        if credentials.certificate:
            raise NotAuthenticated("nobody is known by the names in the client's certificate. Have one of them added.")
        raise NotAuthenticated(f"the call does not say who makes it. {_HOW}.")

    def _of_token(self, principals: Principals, token: str) -> Principal:
        if self._jwt is not None and token.count(".") == 2:
            try:
                subject = self._jwt.subject(token)
            except BadJwt as error:
                raise NotAuthenticated(f"the JWT is not accepted: {error}. Ask its issuer for another one.") from None
            if (of_subject := principals.by_subject.get(subject)) is None:
                raise NotAuthenticated("nobody is known by the subject of the JWT. Have it added.")
            return of_subject
        found = principals.by_hash.get(hash_of(token))
        if found is None:
            raise NotAuthenticated("the token is not known, or was revoked. Ask for another one.")
        principal, kept = found
        if kept.expired(datetime.now(UTC)):
            raise NotAuthenticated(f"the token {kept.id} has expired. Ask for another one.")
        return principal
