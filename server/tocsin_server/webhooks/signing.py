"""Signatures of requests, by which a receiver knows that they come from this server and are new."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence

#: "t=<seconds since 1970>,v1=<hex>[,v1=<hex>]": one v1 a secret.
HEADER = "Tocsin-Signature"


def signature(secrets: Sequence[str], body: bytes, at: int) -> str:
    """The header's value: of each secret the HMAC-SHA256 over the time, a dot and the body.

    While a secret is rotated there are two, and a receiver that knows either one is content with it. The time is
    signed too, so that who listens in cannot send the request again a day later.
    """
    signed = b"%d." % at + body
    parts = [f"v1={hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()}" for secret in secrets]
    return ",".join([f"t={at}", *parts])
