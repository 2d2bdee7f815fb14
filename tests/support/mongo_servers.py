"""A server that speaks MongoDB's wire protocol, as a process of its own: SecantusDB, from its wheel.

It is no mongod: one node, plans of its own, a failover only by name. MONGODB_URL names a real one for the contract
suite. What is said of it here was read off SecantusDB 0.7.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pymongo import MongoClient

from support.eventually import until
from support.ports import free_port
from support.redis_topologies import Authority, Certificate

Document = dict[str, Any]

#: The database of the servers' addresses.
DATABASE = "tests"


def _program() -> str:
    """Beside this Python, where pip puts it, else on PATH."""
    beside = Path(sys.executable).with_name("secantusd-py")
    found = str(beside) if beside.exists() else shutil.which("secantusd-py")
    assert found is not None, "secantusd-py is missing: install the `test` extra"
    return found


class MongoServer:
    """A server on a loopback port, its data in a folder of its own.

    A replica set of one by name, unless standalone. Failpoints can be set. With `tls` it takes TLS alone, and only
    from clients whose certificate the authority has signed. `client` comes in as nobody, before `lock` alone.
    """

    def __init__(self, folder: Path, *, standalone: bool = False, tls: Authority | None = None) -> None:
        # Its ":memory:" is a folder, too, that a kill -9 would leave behind; it is no faster.
        self._data = folder / "data"
        self._data.mkdir(parents=True)
        self._log = folder / "server.log"
        self.port = free_port()
        self._login = ""
        self._options = [*(["--standalone"] if standalone else [])]
        self._query: dict[str, str] = {}
        if tls is not None:
            self._options += _tls_flags(tls, tls.sign("server"))
            self._query = _tls_query(tls, tls.sign("client"))
        self.start()

    @property
    def url(self) -> str:
        """The address for MONGODB_URL, with all that the server asks of its clients."""
        return self.address()

    def address(self, *, login: tuple[str, str] | None = None, **query: str | None) -> str:
        """An address with another login, or other options; None leaves one out."""
        options = {name: value for name, value in {**self._query, **query}.items() if value is not None}
        asked = "&".join(f"{name}={quote(value, safe='')}" for name, value in options.items())
        user = self._login if login is None else _login(*login)
        return f"mongodb://{user}127.0.0.1:{self.port}/{DATABASE}{'?' if asked else ''}{asked}"

    def start(self) -> None:
        """Start it, with the data that it has, and wait until it answers."""
        address = ("--host", "127.0.0.1", "--port", str(self.port))
        command = [_program(), *address, "--storage-path", str(self._data), "--enable-test-commands", *self._options]
        with self._log.open("ab") as log:
            # In a folder of its own: it reads a secantusd.toml from where it is started, or from HOME.
            self.process = subprocess.Popen(
                command,
                cwd=self._data.parent,
                env={**os.environ, "HOME": str(self._data.parent)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        until(self._answers, within=30, what=f"SecantusDB on port {self.port}")

    def _answers(self) -> bool:
        if self.process.poll() is not None:
            raise AssertionError(f"SecantusDB ended with {self.process.returncode}: {self._log.read_text()[-2000:]}")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
            return True
        return False

    def lock(self, users: Mapping[str, str], roles: Sequence[str] = ("readWrite",)) -> None:
        """Make users, who come in by SCRAM-SHA-256, and let nobody in without a login; the first one is that of `url`.

        roles: what they may do, in the database of the address.
        """
        with self.client() as client:
            for name, password in users.items():
                granted = [{"role": role, "db": DATABASE} for role in roles]
                client.admin.command("createUser", name, pwd=password, roles=granted, mechanisms=["SCRAM-SHA-256"])
        self.end()  # it forgets users that were made shortly before a kill -9
        self._options.append("--auth")
        first = next(iter(users))
        self._login, self._query = _login(first, users[first]), {**self._query, "authSource": "admin"}
        self.start()

    def client(self, **options: Any) -> MongoClient[Document]:
        """A client of the test's own, a context manager."""
        return MongoClient(self.url, tz_aware=True, **options)

    def fail(self, mode: str | Document, **data: Any) -> None:
        """Order faults: `fail("alwaysOn", failCommands=["insert"], errorCode=14031)`, `fail({"times": 1}, ...)`."""
        with self.client() as client:
            order_fault(client, mode, **data)

    def stop(self) -> None:
        """kill -9, and wait until it is gone."""
        self.process.kill()
        self.process.wait()

    def end(self) -> None:
        """SIGTERM, and wait until it is gone: before that its folder cannot be opened again. Takes 2 s."""
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(timeout=30)


def order_fault(client: MongoClient[Any], mode: str | Document, **data: Any) -> None:
    """Let commands fail. A mongod knows failpoints only with `--setParameter enableTestCommands=1`."""
    client.admin.command("configureFailPoint", "failCommand", mode=mode, data=data)


@contextlib.contextmanager
def fault(client: MongoClient[Any], mode: str | Document = "alwaysOn", **data: Any) -> Iterator[None]:
    """Meanwhile commands fail as ordered."""
    order_fault(client, mode, **data)
    try:
        yield
    finally:
        client.admin.command("configureFailPoint", "failCommand", mode="off")


def _login(user: str, password: str) -> str:
    return f"{quote(user, safe='')}:{quote(password, safe='')}@"


def _tls_flags(authority: Authority, server: Certificate) -> list[str]:
    own = ["--tls-cert-file", str(server.certificate), "--tls-key-file", str(server.key)]
    return [*own, "--tls-ca-file", str(authority.certificate), "--tls-require-client-cert"]


def _tls_query(authority: Authority, client: Certificate) -> dict[str, str]:
    both = client.certificate.with_suffix(".both.pem")  # pymongo wants certificate and key in one file
    both.write_text(client.certificate.read_text() + client.key.read_text())
    return {"tls": "true", "tlsCAFile": str(authority.certificate), "tlsCertificateKeyFile": str(both)}
