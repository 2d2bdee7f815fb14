"""JWTs are taken from one issuer, for one audience, signed by its private keys, while they are good."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from time import time
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import ECAlgorithm, RSAAlgorithm
from support.certificates import Authority
from support.eventually import until_async
from tocsin_server.security import jwt_tokens
from tocsin_server.security.jwt_tokens import BadJwt, FetchedKeys, JwtTokens, KeySet, key_set
from tocsin_server.security.reloading import Unusable

RSA_KEY = rsa.generate_private_key(65537, 2048)
EC_KEY = ec.generate_private_key(ec.SECP256R1())
GOOD: Mapping[str, Any] = {"sub": "shop", "iss": "https://id.example", "aud": "tocsin", "exp": time() + 36_000}


def jwks(**keys: Any) -> bytes:
    listed = []
    for key_id, key in keys.items():
        of = RSAAlgorithm if isinstance(key, rsa.RSAPrivateKey) else ECAlgorithm
        listed.append({**of.to_jwk(key.public_key(), as_dict=True), "kid": key_id, "use": "sig"})
    return json.dumps({"keys": listed}).encode()


KEYS = key_set(jwks(r=RSA_KEY, e=EC_KEY), "keys")


def tokens(keys: KeySet = KEYS, algorithms: tuple[str, ...] = ("RS256", "ES256")) -> JwtTokens:
    return JwtTokens(lambda: keys, issuer="https://id.example", audience="tocsin", algorithms=algorithms)


def signed(key: Any = RSA_KEY, algorithm: str = "RS256", key_id: str | None = "r", **claims: Any) -> str:
    payload = {name: value for name, value in {**GOOD, **claims}.items() if value is not None}
    return jwt.encode(payload, key, algorithm, headers={"kid": key_id} if key_id else {})


def test_both_kinds_of_keys_are_taken() -> None:
    assert tokens().subject(signed()) == "shop"
    assert tokens().subject(signed(EC_KEY, "ES256", "e", sub="desk")) == "desk"
    only = key_set(EC_KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo), "pem")
    assert tokens(only).subject(signed(EC_KEY, "ES256", None)) == "shop"


def by_public_key() -> str:
    """Signed with the public key as a shared secret, as anybody could."""
    pem = RSA_KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    parts = [json.dumps({"alg": "HS256", "kid": "r"}).encode(), json.dumps(dict(GOOD)).encode()]
    body = b".".join(base64.urlsafe_b64encode(part).rstrip(b"=") for part in parts)
    seal = hmac.new(pem, body, hashlib.sha256).digest()
    return (body + b"." + base64.urlsafe_b64encode(seal).rstrip(b"=")).decode()


@pytest.mark.parametrize(
    ("token", "words"),
    [
        (signed(exp=time() - 60), "expired"),
        (signed(exp=None), "has no exp"),
        (signed(nbf=time() + 36_000), "not good yet"),
        (signed(aud="other"), "another audience"),
        (signed(aud=None), "has no aud"),
        (signed(iss="https://evil.example"), "another issuer"),
        (signed(sub=None), "has no sub"),
        (signed(rsa.generate_private_key(65537, 2048)), "signature is wrong"),
        (signed(EC_KEY, "ES256", "r"), "signature is wrong"),
        (signed(key_id="new"), "key is not known"),
        (signed(algorithm="RS512"), "not signed by one of RS256, ES256"),
        (jwt.encode(dict(GOOD), None, "none", headers={"kid": "r"}), "not signed by one of"),
        (by_public_key(), "not signed by one of"),
        ("a.b.c", "cannot be read"),
        (signed()[:-4] + "AAAA", "signature is wrong"),
    ],
)
def test_others_are_refused_with_the_reason_and_nothing_of_the_token(token: str, words: str) -> None:
    with pytest.raises(BadJwt, match=words) as refused:
        tokens().subject(token)
    assert token not in str(refused.value)
    assert "shop" not in str(refused.value)


def test_shared_secrets_are_not_taken_even_where_they_are_asked_for() -> None:
    with pytest.raises(BadJwt):
        tokens(algorithms=("HS256", "none")).subject(by_public_key())


def test_what_was_good_once_is_looked_at_again_when_it_ends_and_when_the_keys_change(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    standing = {"keys": KEYS}
    taken = JwtTokens(
        lambda: standing["keys"], issuer="https://id.example", audience="tocsin", algorithms=("RS256", "ES256")
    )
    ends = signed(exp=time() + 2)
    assert taken.subject(ends) == "shop"
    monkeypatch.setattr(jwt_tokens, "LEEWAY", timedelta(seconds=-3))  # as if it were later
    with pytest.raises(BadJwt, match="expired"):
        taken.subject(ends)
    monkeypatch.undo()
    good = signed()
    assert [taken.subject(good) for _ in range(3)] == ["shop"] * 3
    standing["keys"] = key_set(jwks(e=EC_KEY), "keys")
    with pytest.raises(BadJwt, match="key is not known"):
        taken.subject(good)


@pytest.mark.parametrize(
    "raw", [b"", b"{}", b"[]", b'{"keys":[]}', b'{"keys":[{"kty":"oct","k":"AAAA"}]}', b"-----BEGIN x"]
)
def test_what_is_no_set_of_public_keys_is_refused(raw: bytes) -> None:
    with pytest.raises(Unusable, match=r"^where holds no"):
        key_set(raw, "where")


@asynccontextmanager
async def provider(folder: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[str, dict[str, Any]]]:
    """A provider's https server that answers with `state["body"]`, or not at all; counts the questions."""
    authority = Authority(folder)
    pair, state = authority.sign("provider"), {"body": jwks(r=RSA_KEY), "asked": 0, "status": "200 OK"}
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.ca))

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        state["asked"] += 1
        body = state["body"]
        writer.write(f"HTTP/1.1 {state['status']}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode())
        writer.write(body)
        await writer.drain()
        writer.close()

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.cert, pair.key)
    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context)
    state["server"] = server
    try:
        yield f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/keys", state
    finally:
        server.close()


async def test_keys_at_an_address_serve_on_while_it_is_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tocsin_server.security.jwt_tokens._ASK_AGAIN", 0.05)
    async with provider(tmp_path, monkeypatch) as (url, state):
        keys = FetchedKeys(url, timedelta(milliseconds=100))
        taken = JwtTokens(lambda: keys.current, issuer="https://id.example", audience="tocsin", algorithms=["RS256"])
        with pytest.raises(BadJwt):
            taken.subject(signed())
        keys.start()

        async def asked(times: int) -> bool:
            return bool(state["asked"] >= times and keys.current.keys)

        await until_async(lambda: asked(1), within=10)
        assert taken.subject(signed()) == "shop"
        state["body"], before = b"no keys", state["asked"]
        await until_async(lambda: asked(before + 3), within=10)
        assert taken.subject(signed(sub="again")) == "again"
        state["server"].close()
        with pytest.raises(Unusable, match="does not answer"):
            await keys.fetch()
        assert taken.subject(signed(sub="still")) == "still"
        await keys.close()


async def test_an_answer_that_is_no_200_or_too_long_holds_no_keys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with provider(tmp_path, monkeypatch) as (url, state):
        keys = FetchedKeys(url, timedelta(minutes=1))
        assert (await keys.fetch()).keys.keys() == {"r"}
        state["status"] = "302 Found"
        with pytest.raises(Unusable, match="answers with 302"):
            await keys.fetch()
        state["status"], state["body"] = "200 OK", b"x" * (2 << 20)
        with pytest.raises(Unusable, match="more than"):
            await keys.fetch()
