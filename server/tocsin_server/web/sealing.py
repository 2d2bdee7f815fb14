"""The cookie of somebody who logged in: their token and when they came, sealed. No server keeps anything of it, so that
any of several servers knows them."""

from __future__ import annotations

import secrets
import struct
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Sequence
from datetime import timedelta
from time import time

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

_ABOUT = b"tocsin dashboard session 1"
_NONCE = 12


class Seal:
    """Seals and opens cookies, with a key made from `secret`, which is asked each time as it may change."""

    def __init__(self, secret: Callable[[], bytes], lasts: timedelta) -> None:
        self._secret = secret
        self.lasts = int(lasts.total_seconds())  # seconds
        self._made: tuple[bytes, AESGCM] | None = None

    def sealed(self, token: str) -> str:
        """The cookie."""
        nonce = secrets.token_bytes(_NONCE)
        clear = struct.pack(">q", int(time())) + token.encode()
        return urlsafe_b64encode(nonce + self._cipher().encrypt(nonce, clear, _ABOUT)).decode().rstrip("=")

    def opened(self, cookie: str) -> str | None:
        """The token; None: it was not sealed by us, or with another key, or is too old."""
        try:
            raw = urlsafe_b64decode(cookie + "=" * (-len(cookie) % 4))
            clear = self._cipher().decrypt(raw[:_NONCE], raw[_NONCE:], _ABOUT)
        except (ValueError, InvalidTag):
            return None
        [since] = struct.unpack_from(">q", clear)
        return clear[8:].decode() if -60 <= time() - since <= self.lasts else None

    def _cipher(self) -> AESGCM:
        secret = self._secret()
        if self._made is None or self._made[0] != secret:
            self._made = secret, AESGCM(HKDF(SHA256(), 32, None, _ABOUT).derive(secret))
        return self._made[1]


def secret_of(hashes: Sequence[str]) -> bytes:
    """A secret made from the hashes of all tokens, which servers with the same file have, and nobody else. Empty where
    there are none."""
    return "\n".join(sorted(hashes)).encode()
