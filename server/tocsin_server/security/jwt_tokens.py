"""JWTs of a provider: checked by its public keys, which come from a file or from an https address."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx2
import structlog

from tocsin_server.background import Loop
from tocsin_server.security.reloading import Reloaded, Unusable, read_file

#: Signed with a private key. Those that share a secret (HS256) and "none" are not among them: with a public key as
#: the secret anybody could sign.
ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA")

#: How far the provider's clock may be off.
LEEWAY = timedelta(seconds=5)

_KEY_TYPES = ("RSA", "EC", "OKP")
_MOST_BYTES = 1 << 20  # of a set of keys
_MOST_CHECKED = 10_000  # tokens that are remembered as good: a signature costs as much as the rest of a call
_ASK_WITHIN, _ASK_AGAIN = 10.0, 5.0  # seconds

_log: structlog.typing.FilteringBoundLogger = structlog.get_logger("tocsin.server")


class BadJwt(Exception):
    """It is not accepted; the message says why, and nothing of what is in it."""


@dataclass(frozen=True, slots=True)
class KeySet:
    """Public keys of a provider, by their ids; "" is one without."""

    keys: Mapping[str, Any] = field(default_factory=dict)

    def key(self, key_id: str | None) -> Any:
        """The key, the only one where none is named; None: there is no such key."""
        if key_id is None and len(self.keys) == 1:
            return next(iter(self.keys.values()))
        return self.keys.get(key_id or "")


class JwtTokens:
    """Finds out whose a JWT is. `unknown_key` is called where it names a key that is not there: it may be a new one."""

    def __init__(self, keys: Callable[[], KeySet], *, issuer: str, audience: str, algorithms: Sequence[str]) -> None:
        self._keys = keys
        self._issuer, self._audience = issuer, audience
        self._algorithms = [name for name in algorithms if name in ALGORITHMS]
        self._checked: dict[bytes, tuple[str, datetime]] = {}
        self._checked_by: KeySet | None = None
        self.unknown_key: Callable[[], object] = lambda: None

    def subject(self, token: str) -> str:
        """Its `sub`. BadJwt."""
        keys, digest = self._keys(), sha256(token.encode()).digest()
        if keys is not self._checked_by:
            self._checked, self._checked_by = {}, keys
        checked = self._checked.get(digest)
        if checked is None:
            if len(self._checked) >= _MOST_CHECKED:
                self._checked.clear()
            checked = self._checked[digest] = self._check(token, keys)
        subject, expires = checked
        if expires <= datetime.now(UTC) - LEEWAY:
            del self._checked[digest]
            raise BadJwt("it has expired")
        return subject

    def _check(self, token: str, keys: KeySet) -> tuple[str, datetime]:
        import jwt  # 50 ms, which servers without JWTs need not spend

        try:
            header = jwt.get_unverified_header(token)
            if header.get("alg") not in self._algorithms:
                raise BadJwt(f"it is not signed by one of {', '.join(self._algorithms)}")
            key = keys.key(header.get("kid"))
            if key is None:
                self.unknown_key()
                raise BadJwt("its key is not known here")
            claims = jwt.decode(
                token,
                key,
                algorithms=self._algorithms,
                audience=self._audience,
                issuer=self._issuer,
                leeway=LEEWAY,
                options={"require": ["exp", "iss", "aud", "sub"]},
            )
            return str(claims["sub"]), datetime.fromtimestamp(int(claims["exp"]), UTC)
        except jwt.ExpiredSignatureError:
            raise BadJwt("it has expired") from None
        except jwt.InvalidAudienceError:
            raise BadJwt("it is for another audience") from None
        except jwt.InvalidIssuerError:
            raise BadJwt("it is of another issuer") from None
        except jwt.ImmatureSignatureError:
            raise BadJwt("it is not good yet") from None
        except jwt.MissingRequiredClaimError as error:
            raise BadJwt(f"it has no {error.claim}") from None
        except (jwt.PyJWTError, ValueError, TypeError, OverflowError, OSError):
            raise BadJwt("it cannot be read, or its signature is wrong") from None


def key_set(raw: bytes, where: str) -> KeySet:
    """A set of keys as providers publish it (JWKS), or one public key in PEM. Unusable."""
    import jwt
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    if raw.lstrip().startswith(b"-----BEGIN"):
        try:
            return KeySet({"": load_pem_public_key(raw)})
        except ValueError:
            raise Unusable(f"{where} holds no public key") from None
    try:
        listed = json.loads(raw)["keys"]
        found = {
            str(one.get("kid", "")): jwt.PyJWK(one).key
            for one in listed
            if one.get("kty") in _KEY_TYPES and one.get("use", "sig") == "sig"
        }
    except (ValueError, KeyError, TypeError, AttributeError, jwt.PyJWTError):
        raise Unusable(f"{where} holds no set of keys (JWKS)") from None
    if not found:
        raise Unusable(f"{where} holds no public key that signs")
    return KeySet(found)


def keys_in_file(path: Path) -> Reloaded[KeySet]:
    """The keys in a file, read anew when it changes. Unusable."""
    return Reloaded("keys of JWTs", [path], lambda: key_set(read_file(path, guarded=True), str(path)))


class FetchedKeys:
    """The keys at an https address, asked for anew again and again. While it does not answer, the ones before serve."""

    def __init__(self, url: str, refresh: timedelta) -> None:
        self.current = KeySet()
        self._url, self._refresh = url, refresh.total_seconds()
        self._wanted = asyncio.Event()
        self._loop = Loop(self._run, "jwt_keys")
        self._failed = False

    def start(self) -> None:
        """Begin, with the first question."""
        self._loop.start()

    async def close(self) -> None:
        """Ask no more."""
        await self._loop.close()

    def want(self) -> None:
        """Ask soon: a key was named that is not there."""
        self._wanted.set()

    async def fetch(self) -> KeySet:
        """The keys as they are there now. Unusable."""
        try:
            async with (
                httpx2.AsyncClient(timeout=_ASK_WITHIN, follow_redirects=False) as client,
                client.stream("GET", self._url) as answer,
            ):
                if answer.status_code != 200:
                    raise Unusable(f"{self._url} answers with {answer.status_code}")
                raw = b""
                async for part in answer.aiter_bytes():
                    raw += part
                    if len(raw) > _MOST_BYTES:
                        raise Unusable(f"{self._url} answers with more than {_MOST_BYTES:,} bytes")
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise Unusable(f"{self._url} does not answer ({type(error).__name__})") from None
        return key_set(raw, self._url)

    async def _run(self) -> None:
        while True:
            self._wanted.clear()
            try:
                fresh = await self.fetch()
            except Unusable as error:
                if not self._failed:
                    _log.error("keys of JWTs cannot be fetched, the ones fetched before stay in force", why=str(error))
                self._failed = True
            else:
                self._failed = False
                if fresh != self.current:  # else what was checked by it stays checked
                    self.current = fresh
            await asyncio.sleep(_ASK_AGAIN)
            try:
                async with asyncio.timeout(max(0.0, self._refresh - _ASK_AGAIN)):
                    await self._wanted.wait()
            except TimeoutError:
                continue
