"""`tocsin serve --processes N`: every one of them takes what is replaced, and is told what its parent is told."""

from __future__ import annotations

import json
import os
import signal
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.certificates import Authority
from support.eventually import until
from support.ports import free_port
from support.redis_backend import RedisBackend
from support.servers import Server
from support.stores import store_settings
from tocsin import Client, Tls, Unauthenticated
from tocsin_server.security.principals import Scope
from tocsin_server.security.principals_file import create_token, revoke_token

SCOPES = (Scope.SCHEDULE, Scope.READ, Scope.READ_PAYLOAD)
CONNECTIONS = 20  # so many that both processes have some


def tocsin(*arguments: str) -> str:
    done = subprocess.run([sys.executable, "-m", "tocsin.cli.main", *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done
    return done.stdout


class Both:
    """Two processes at one address, with all the files that they read."""

    def __init__(self, folder: Path, store_url: str) -> None:
        self.authority = Authority(folder / "ca")
        self.pair = self.authority.sign("server")
        self.principals, self.ring, self.audit = (folder / name for name in ("p.toml", "ring.toml", "audit.jsonl"))
        self.token, self.token_id = self.another_token(SCOPES)
        tocsin("keys", "create", str(self.ring))
        env = {
            **store_settings(store_url),
            "TOCSIN_TLS__CERT_FILE": str(self.pair.cert),
            "TOCSIN_TLS__KEY_FILE": str(self.pair.key),
            "TOCSIN_AUTH__PRINCIPALS_FILE": str(self.principals),
            "TOCSIN_ENCRYPTION__KEYRING_FILE": str(self.ring),
            "TOCSIN_AUDIT__TO": f"file:{self.audit}",
        }
        self.server = Server(folder, ["--processes", "2", "--no-dispatch"], env, health_port=free_port())

    def another_token(self, scopes: tuple[Scope, ...] = ()) -> tuple[str, str]:
        """A token of the shop's, and its id."""
        secret, token = create_token(self.principals, "shop", scopes, None)
        return secret, token.id

    def told(self, text: str) -> int:
        """How many of the processes have said so."""
        return self.server.said(1_000_000).count(text)

    def each(self, token: str, call: Callable[[Client], object]) -> set[str]:
        """Make a call over connections of their own; the names of the servers that answered."""
        tls, names = Tls.from_files(ca=self.authority.ca), set()
        for _ in range(CONNECTIONS):
            with Client(self.server.address, tls=tls, token=token, retries=False, deadline=10) as client:
                call(client)
                names.add(client.server_info().server)
        return names

    def certificates(self) -> set[bytes]:
        """What is shown on connections of their own."""
        return {
            ssl.PEM_cert_to_DER_cert(ssl.get_server_certificate(("127.0.0.1", self.server.port), timeout=5))
            for _ in range(CONNECTIONS)
        }


@pytest.fixture
def both(tmp_path: Path, redis: RedisBackend) -> Iterator[Both]:
    """Both serve."""
    both = Both(tmp_path, redis.url)
    try:
        both.server.start()
        until(lambda: len(both.each(both.token, Client.server_info)) == 2, within=30, what="two servers")
        yield both
    finally:
        both.server.kill()


@pytest.mark.timeout(180)
def test_every_process_takes_another_certificate_other_tokens_and_another_key(both: Both, redis: RedisBackend) -> None:
    both.pair.replace(both.authority.sign("second"))
    until(lambda: both.told("TLS certificates were read anew") == 2, within=20)
    both.certificates()  # each takes it with a first connection
    assert both.certificates() == {ssl.PEM_cert_to_DER_cert(both.pair.cert.read_text())}

    token, _ = both.another_token()
    until(lambda: both.told("principals were read anew") == 2, within=20)
    assert len(both.each(token, Client.server_info)) == 2
    revoke_token(both.principals, both.token_id)
    until(lambda: both.told("principals were read anew") == 4, within=20)
    for _ in range(CONNECTIONS):
        with pytest.raises(Unauthenticated):
            both.each(both.token, Client.server_info)

    tocsin("keys", "rotate", str(both.ring))
    [key] = [line[:8] for line in tocsin("keys", "list", str(both.ring)).splitlines() if "primary" in line]

    def both_use_it() -> bool:  # a ring is looked at when it is used
        both.each(token, _schedule_in("before"))
        return both.told("the key ring was read anew") == 2

    until(both_use_it, within=20)
    assert len(both.each(token, _schedule_in("after"))) == 2
    redis.client.config_set("rdbcompression", "no")
    sealed = b"".join(redis.client.dump(name) or b"" for name in redis.client.scan_iter("*after*"))
    assert sealed.count(bytes.fromhex(key)) == CONNECTIONS


def _schedule_in(queue: str) -> Callable[[Client], object]:
    return lambda client: client.schedule("noop", {"said": 1}, queue=queue, delay=3600)


def test_sighup_reaches_every_process_and_ends_none(both: Both) -> None:
    moved = both.audit.rename(both.audit.with_suffix(".1"))
    size = moved.stat().st_size
    os.kill(both.server.pid, signal.SIGHUP)
    until(both.audit.exists, within=5)
    names = both.each(both.token, _schedule_in("q"))
    assert len(names) == 2
    lines = [json.loads(line) for line in both.audit.read_text().splitlines()]
    assert len(lines) == CONNECTIONS
    assert {line["server"] for line in lines} == names
    assert moved.stat().st_size == size
    assert "a server process ended" not in both.server.said(1_000_000)
