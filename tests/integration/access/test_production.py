"""`tocsin serve --production` refuses to start with anything that a production must not have, and starts without it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from support.certificates import Authority
from support.ports import free_port
from support.redis_backend import RedisBackend
from support.servers import Server
from tocsin import Client, Tls

TOCSIN = (sys.executable, "-m", "tocsin.cli.main")
#: As a user who is not root, whoever runs the tests; files are as they were.
AS_A_USER = ("unshare", "--user", *TOCSIN) if os.geteuid() == 0 else TOCSIN


@pytest.fixture
def right(tmp_path: Path) -> dict[str, str]:
    """Variables of a server that is as it should be."""
    authority = Authority(tmp_path / "ca")
    own = authority.sign("server")
    return {
        "TOCSIN_TLS__CERT_FILE": str(own.cert),
        "TOCSIN_TLS__KEY_FILE": str(own.key),
        "TOCSIN_TLS__CLIENT_CA_FILE": str(authority.ca),
        "TOCSIN_DATA": str(tmp_path / "data"),
        "TOCSIN_PRODUCTION": "yes",
    }


def ended(folder: Path, *words: str, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("TOCSIN_", "REDIS_"))}
    return subprocess.run(
        [*AS_A_USER, *words], env=clean | env, cwd=folder, capture_output=True, text=True, timeout=60, umask=0o022
    )


def test_a_right_configuration_starts_without_reflection_and_doctor_agrees(
    tmp_path: Path, right: dict[str, str]
) -> None:
    server = Server(tmp_path, ["--no-dispatch"], right, program=AS_A_USER, health_port=free_port())
    try:
        server.start()
        # Its own certificate is one that its authority signed, as a client's would be.
        files = {name: right[f"TOCSIN_TLS__{name.upper()}_FILE"] for name in ("cert", "key")}
        with Client(server.address, tls=Tls.from_files(ca=right["TOCSIN_TLS__CLIENT_CA_FILE"], **files)) as client:
            assert client.server_info().message.unfit_for_production == []
    finally:
        server.kill()
    assert "not set up for a production" not in server.said(100_000)
    checked = ended(tmp_path, "doctor", env=right)
    assert "production:" not in checked.stdout


@pytest.mark.parametrize("processes", ["1", "2"])
def test_each_condition_is_a_line_and_exit_code_2(tmp_path: Path, right: dict[str, str], processes: str) -> None:
    wrong = right | {"TOCSIN_MAIL__TRANSPORT": "file:outbox", "TOCSIN_REFLECTION": "yes", "TOCSIN_PROCESSES": processes}
    listen = f"127.0.0.1:{free_port()}"
    done = ended(tmp_path, "serve", "--listen", listen, env=wrong)
    assert done.returncode == 2
    lines = [line for line in done.stderr.splitlines() if line.startswith("tocsin serve: ")]
    assert [line.split(": ")[1] for line in lines] == ["reflection", "mail.transport"]
    checked = ended(tmp_path, "doctor", env=wrong)
    assert checked.returncode == 1
    told = [line.strip() for line in checked.stdout.splitlines() if "production: " in line]
    assert [line.removeprefix("MEND  production: ") for line in told] == [
        line.removeprefix("tocsin serve: ") for line in lines
    ]


def test_a_store_that_keeps_nothing_is_refused(tmp_path: Path, redis: RedisBackend, right: dict[str, str]) -> None:
    redis.client.config_set("appendonly", "no")
    redis.client.config_set("save", "")
    listen = f"127.0.0.1:{free_port()}"
    done = ended(tmp_path, "serve", "--production", "--listen", listen, env=right | {"REDIS_URL": redis.url})
    assert done.returncode == 2, done.stderr
    assert "tocsin serve: the store keeps nothing over a restart" in done.stderr


def test_without_it_they_are_warnings_in_the_log_and_in_what_the_server_says_of_itself(
    redis: RedisBackend, serve: Callable[..., Server]
) -> None:
    server = serve(redis.url, "--no-dispatch", TOCSIN_MAIL__TRANSPORT="file:outbox")
    with Client(server.address) as client:
        conditions = client.server_info().message.unfit_for_production
    assert any(line.startswith("mail.transport: ") for line in conditions)
    [told] = [line for line in server.said(100_000).splitlines() if "not set up for a production" in line]
    assert all(line in told for line in conditions)
