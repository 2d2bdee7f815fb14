"""Signatures, as a receiver verifies them."""

from __future__ import annotations

import hashlib
import hmac

from tocsin_server.webhooks.signing import signature


def test_a_signature_is_the_hmac_over_time_and_body() -> None:
    expected = hmac.new(b"secret-of-orders", b'1764417600.{"a":1}', hashlib.sha256).hexdigest()
    assert signature(["secret-of-orders"], b'{"a":1}', 1764417600) == f"t=1764417600,v1={expected}"


def test_while_a_secret_is_rotated_either_one_verifies() -> None:
    one, two = (signature([secret], b"body", 7).removeprefix("t=7,") for secret in ("new" * 6, "old" * 6))
    assert signature(["new" * 6, "old" * 6], b"body", 7) == f"t=7,{one},{two}"


def test_time_and_body_are_both_signed() -> None:
    signed = {signature(["s" * 16], body, at).partition(",")[2] for body in (b"", b"a") for at in (1, 2)}
    assert len(signed) == 4
