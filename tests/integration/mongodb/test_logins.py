"""Who comes in: passwords by SCRAM-SHA-256, TLS, client certificates. Who does not is told so in one line."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from contract.builders import a_draft, added, claimed_one, completed, finished
from support.mongo_servers import MongoServer
from support.mongo_stores import opened
from support.redis_topologies import Authority
from tocsin_server.domain.errors import StoreAway
from tocsin_server.store.interface import StoreUnfit
from tocsin_server.store.mongo.connection import MongoConnection
from tocsin_server.store.refusal_log import words_behind

StartServer = Callable[..., MongoServer]
SOON = timedelta(milliseconds=300)
PASSWORD = "p@ss/wörd:1 %41"
WRONG = "wr0ng-s3cret"

needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not on PATH")


async def told_to_mend(url: str) -> str:
    """What is said of a user: waiting would not help, so a server ends."""
    return (await refusal(url, StoreUnfit)).lower()


async def works(url: str) -> None:
    """A job's life, with all the commands that takes."""
    async with opened(url) as store:
        await added(store, a_draft())
        await finished(store, completed(await claimed_one(store)))


async def refusal(url: str, kind: type[Exception] = StoreAway) -> str:
    """What is said, in one line."""
    with pytest.raises(kind) as refused:
        async with opened(url, select_within=SOON):
            pass
    line = str(refused.value)
    if isinstance(refused.value, StoreAway):  # what a server that starts logs, and doctor adds
        line += f" ({words_behind(refused.value)})"
    assert "\n" not in line
    assert len(line) < 500, line
    for secret in (WRONG, PASSWORD, "p%40ss"):
        assert secret not in line
    return line


async def test_a_right_password_comes_in_and_a_wrong_one_is_told_so(start_server: StartServer) -> None:
    server = start_server()
    server.lock({"ada": PASSWORD})
    await works(server.url)
    await works(server.address(authMechanism="SCRAM-SHA-256"))
    assert "authentication failed" in await told_to_mend(server.address(login=("ada", WRONG)))
    assert "authentication failed" in await told_to_mend(server.address(login=("nobody", WRONG)))
    assert "authentication" in await told_to_mend(f"mongodb://127.0.0.1:{server.port}/tests")


async def test_a_user_who_may_only_read_is_told_so(start_server: StartServer) -> None:
    server = start_server()
    server.lock({"ada": PASSWORD}, roles=["read"])
    assert "not authorized" in await told_to_mend(server.url)


@needs_openssl
async def test_tls_is_spoken_and_both_certificates_are_checked(start_server: StartServer, tmp_path: Path) -> None:
    ours, strangers = tmp_path / "ours", tmp_path / "strangers"
    ours.mkdir()
    strangers.mkdir()
    authority, stranger = Authority(ours), Authority(strangers)
    server = start_server(tls=authority)
    forged = stranger.sign("client")
    both = strangers / "both.pem"
    both.write_text(forged.certificate.read_text() + forged.key.read_text())

    await works(server.url)

    assert "certificate" in await refusal(server.address(tlsCAFile=str(stranger.certificate)))
    assert "certificate" in await refusal(server.address(tlsCAFile=None))
    await refusal(server.address(tlsCertificateKeyFile=None))
    await refusal(server.address(tlsCertificateKeyFile=str(both)))
    await refusal(f"mongodb://127.0.0.1:{server.port}/tests")

    server.lock({"ada": PASSWORD})
    await works(server.url)
    assert "authentication failed" in await told_to_mend(server.address(login=("ada", WRONG)))


@pytest.mark.parametrize(
    "url",
    [
        f"mongodb://ada:{WRONG}@/tests",
        f"mongodb://ada:{WRONG}@localhost:port/tests",
        f"mongodb://ada:{WRONG}@localhost/tests?authMechanism=ROT13",
        f"mongodb://ada:{WRONG}@localhost/te sts$",
        f"mongodb://ada:{WRONG}@x@localhost/tests",
        f"mongodb://ada:{WRONG}@localhost/tests?tls=true&tlsCAFile=/no/such/file",
        f"mongodb://ada:{WRONG}@localhost/tests?connectTimeoutMS=soon",
        f"mongodb://ada:{WRONG}@localhost/tests?nosuchoption=1",
        f"http://ada:{WRONG}@localhost/tests",
    ],
)
def test_an_address_that_cannot_be_used_is_refused_in_one_line_without_its_password(url: str) -> None:
    with pytest.raises(ValueError, match="MongoDB URL") as refused:
        MongoConnection(url)
    assert "\n" not in str(refused.value)
    assert WRONG not in str(refused.value)


async def test_no_option_of_the_address_weakens_writes_or_reads_elsewhere(server: MongoServer) -> None:
    connection = MongoConnection(
        server.address(w="0", journal="false", readPreference="secondary", retryWrites="false")
    )
    assert connection.database.write_concern.document == {"w": "majority", "j": True}
    assert connection.database.read_preference.mongos_mode == "primary"
    assert connection.client.options.retry_writes
    await connection.close()
