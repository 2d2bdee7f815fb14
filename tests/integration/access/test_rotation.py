"""Everything by which a server is secured is replaced while it is used: no call fails, and no lease is lost."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm
from support.certificates import Authority, Pair
from support.eventually import until_async
from support.ports import free_port
from support.redis_backend import RedisBackend
from support.servers import Server
from support.stores import store_settings
from tocsin import AsyncClient, Tls, TocsinError
from tocsin_server.security.principals import Scope
from tocsin_server.security.principals_file import create_token, revoke_token

from integration.access.rotating_load import BRIEF, HELD, Load, Pass

logger = logging.getLogger(__name__)

CALLS = (Scope.SCHEDULE, Scope.READ, Scope.READ_PAYLOAD)
REFUSED_WITHIN = 5  # seconds
ANYWHERE = ("127.0.0.1", "localhost")


class Estate:
    """A server with all of it, the files that it reads, and what its users hold."""

    def __init__(self, folder: Path, store_url: str) -> None:
        self.folder = folder
        self.authority = Authority(folder / "ca-0")
        self.served = self.authority.sign("server")
        self.trusted = folder / "trusted.pem"
        self.trusted.write_bytes(self.authority.ca.read_bytes())
        self.principals, self.keys, self.ring = (
            folder / name for name in ("principals.toml", "keys.json", "ring.toml")
        )
        self.tokens = {
            name: create_token(self.principals, name, scopes, None) for name, scopes in self._scopes().items()
        }
        self.principals.write_text(
            f'{self.principals.read_text()}\n[[principal]]\nname = "site"\nscopes = {json.dumps(CALLS)}\n'
            'subjects = ["site"]\n'
        )
        self.jwt_keys = {"k0": ec.generate_private_key(ec.SECP256R1())}
        self._publish_keys()
        self.env = {
            **store_settings(store_url),
            "TOCSIN_TLS__CERT_FILE": str(self.served.cert),
            "TOCSIN_TLS__KEY_FILE": str(self.served.key),
            "TOCSIN_TLS__CLIENT_CA_FILE": str(self.trusted),
            "TOCSIN_AUTH__PRINCIPALS_FILE": str(self.principals),
            "TOCSIN_AUTH__JWT__KEYS": str(self.keys),
            "TOCSIN_AUTH__JWT__ISSUER": "https://id.example",
            "TOCSIN_AUTH__JWT__AUDIENCE": "tocsin",
            "TOCSIN_ENCRYPTION__KEYRING_FILE": str(self.ring),
            # Of a hundred callers on a laptop's two cores.
            "TOCSIN_CALLS__WATCHES_PER_CLIENT": "1000",
        }
        self.tocsin("keys", "create", str(self.ring))
        self.server = Server(folder, ["--no-dispatch"], self.env, health_port=free_port())

    @staticmethod
    def _scopes() -> dict[str, tuple[Scope, ...]]:
        return {"token": CALLS, "worker": (Scope.WORK,)}

    def tocsin(self, *arguments: str) -> str:
        """Run a command of this machine's operator; what it printed."""
        done = subprocess.run(
            [sys.executable, "-m", "tocsin.cli.main", *arguments],
            env={**os.environ, **self.env},
            cwd=self.folder,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done
        return done.stdout

    def tls(self, pair: Pair) -> Tls:
        return Tls.from_files(ca=self.trusted, cert=pair.cert, key=pair.key)

    def shown(self) -> dict[str, str]:
        """The tokens of now."""
        kid, key = list(self.jwt_keys.items())[-1]
        claims = {"iss": "https://id.example", "aud": "tocsin", "sub": "site", "exp": time.time() + 3600}
        return {
            **{name: secret for name, (secret, _) in self.tokens.items()},
            "jwt": jwt.encode(claims, key, "ES256", headers={"kid": kid}),
        }

    def _publish_keys(self) -> None:
        listed = [
            {**ECAlgorithm.to_jwk(key.public_key(), as_dict=True), "kid": kid} for kid, key in self.jwt_keys.items()
        ]
        put(self.keys, json.dumps({"keys": listed}).encode())

    async def read_anew(self, what: str, change: Any) -> None:
        """Change a file, and wait until the server says that it has read it."""
        before = self.server.said(10_000_000).count(what)
        change()

        async def told() -> bool:
            return self.server.said(10_000_000).count(what) > before

        await until_async(told, within=20, what=what)

    # --- what is replaced ---

    async def other_certificate(self, load: Load) -> None:
        """Another pair of the same authority."""
        await self.read_anew(
            "TLS certificates were read anew", lambda: self.served.replace(self.authority.sign("next"))
        )

    async def other_authority(self, load: Load) -> None:
        """Both are trusted while certificates of the new one are handed out; then the old one no more."""
        number = load.shown.number
        old_pair = Pair(self.folder / "old.pem", self.folder / "old.key")
        for path, raw in (
            (old_pair.cert, load.shown.tls.certificate_chain),
            (old_pair.key, load.shown.tls.private_key),
        ):
            put(path, raw or b"")
        new = Authority(self.folder / f"ca-{number}", f"ca-{number}")
        both = self.authority.ca.read_bytes() + new.ca.read_bytes()
        await self.read_anew("TLS certificates were read anew", lambda: put(self.trusted, both))
        own = new.sign("client", *ANYWHERE)
        await load.hand_out(tls=self.tls(own))  # trusts both, and is trusted
        await self.read_anew("TLS certificates were read anew", lambda: self.served.replace(new.sign("server")))
        await self.read_anew("TLS certificates were read anew", lambda: put(self.trusted, new.ca.read_bytes()))
        await load.hand_out(tls=self.tls(own))
        self.authority = new
        await refused(load.address, self.tls(old_pair), load.shown.tokens["token"])

    async def other_tokens(self, load: Load) -> None:
        """New ones beside the old ones, which are revoked once nobody shows them."""
        old = dict(self.tokens)
        for name in old:
            await self.read_anew(
                "principals were read anew",
                lambda name=name: self.tokens.__setitem__(name, create_token(self.principals, name, (), None)),
            )
        await load.hand_out(tokens=self.shown())
        for secret, token in old.values():
            revoke_token(self.principals, token.id)
            await refused(load.address, load.shown.tls, secret)

    async def other_jwt_key(self, load: Load) -> None:
        """Published beside the old one, which goes once nobody shows what it signed."""
        [old], old_jwt = self.jwt_keys, load.shown.tokens["jwt"]
        self.jwt_keys[f"k{load.shown.number}"] = ec.generate_private_key(ec.SECP256R1())
        await self.read_anew("keys of JWTs were read anew", self._publish_keys)
        await load.hand_out(tokens=self.shown())
        del self.jwt_keys[old]
        self._publish_keys()
        await refused(load.address, load.shown.tls, old_jwt)

    async def other_encryption_key(self, load: Load) -> None:
        """As docs/encryption.md has it: rotate, encrypt anew, remove."""
        old = self.tocsin("keys", "list", str(self.ring))[:8]
        await self.read_anew("the key ring was read anew", lambda: self.tocsin("keys", "rotate", str(self.ring)))
        await asyncio.to_thread(self.tocsin, "reencrypt")
        await asyncio.to_thread(self.tocsin, "keys", "remove", str(self.ring), old)


def put(path: Path, raw: bytes) -> None:
    """In one step, for its owner alone."""
    fresh = path.with_suffix(".new")
    fresh.touch(mode=0o600)
    fresh.write_bytes(raw)
    fresh.replace(path)


async def refused(address: str, tls: Tls, token: str) -> None:
    """What was replaced lets nobody in, soon."""

    async def is_refused() -> bool:
        try:
            async with AsyncClient(address, tls=tls, token=token, retries=False, deadline=5) as client:
                await client.server_info()
        except TocsinError:
            return True
        return False

    await until_async(is_refused, within=REFUSED_WITHIN)


@pytest.fixture
def estate(tmp_path: Path, redis: RedisBackend) -> Iterator[Estate]:
    estate = Estate(tmp_path, redis.url)
    try:
        estate.server.start()
        yield estate
    finally:
        estate.server.kill()


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("callers", "seconds"), [(10, 8.0), pytest.param(100, 60.0, marks=pytest.mark.full)], ids=["small", "full"]
)
async def test_all_is_replaced_under_load_and_no_call_fails_and_no_lease_is_lost(
    estate: Estate, callers: int, seconds: float
) -> None:
    holders = max(2, callers // 10)
    tls = estate.tls(estate.authority.sign("client", *ANYWHERE))
    load = Load(estate.server.address, Pass(1, tls, estate.shown()))
    async with AsyncClient(load.address, tls=tls, token=load.shown.tokens["token"]) as client:
        await asyncio.gather(*(client.schedule("held", queue=HELD) for _ in range(holders)))
    rounds, began = 0, time.monotonic()
    async with load.running(callers, holders):
        while time.monotonic() - began < seconds:
            for replace in (
                estate.other_certificate,
                estate.other_authority,
                estate.other_tokens,
                estate.other_jwt_key,
                estate.other_encryption_key,
            ):
                await replace(load)
            rounds += 1
    took = time.monotonic() - began
    logger.info(
        "%d callers, %d leases held: %d rounds in %.0f s, %d calls, %d connections, %d failed",
        *(callers, holders, rounds, took, load.calls, load.handshakes, len(load.failed)),
    )
    assert load.failed == []
    assert load.calls > callers * 20
    async with AsyncClient(load.address, tls=load.shown.tls, token=load.shown.tokens["token"]) as client:
        held = [job async for job in client.list(queue=HELD)]
        run = [job async for job in client.list(queue=BRIEF, states=["COMPLETED"])]
        lost = [job async for job in client.list(queue=BRIEF) if job.crashes or job.failures]
    assert [(str(job.state), job.attempt, job.crashes) for job in held] == [("COMPLETED", 1, 0)] * holders
    assert run
    assert lost == []
