"""Each thing that a production must not have is told by a line of its own, and a right configuration has none."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from support.loaded_settings import settings
from tocsin_server.settings.production import store_unfit_for_production, unfit_for_production

RIGHT = {
    "TOCSIN_PRODUCTION": "yes",
    "TOCSIN_LISTEN": "0.0.0.0:50051",
    "TOCSIN_TLS__CERT_FILE": "cert.pem",
    "TOCSIN_TLS__KEY_FILE": "key.pem",
    "TOCSIN_TLS__CLIENT_CA_FILE": "ca.pem",
    "REDIS_URL": "rediss://tocsin:secret@redis.internal:6379/0",
}


@pytest.fixture(autouse=True)
def as_a_user(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not root, whoever runs the tests."""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)


def conditions(*arguments: str, **env: str) -> list[str]:
    return unfit_for_production(settings(**{**RIGHT, **env}), arguments)


def test_a_right_configuration_has_none() -> None:
    assert conditions() == []


@pytest.mark.parametrize(
    ("said", "env"),
    [
        (
            "TLS: set tls.cert_file",
            {"TOCSIN_TLS__CERT_FILE": "", "TOCSIN_TLS__KEY_FILE": "", "TOCSIN_TLS__CLIENT_CA_FILE": ""},
        ),
        ("auth: whoever reaches", {"TOCSIN_TLS__CLIENT_CA_FILE": ""}),
        ("reflection:", {"TOCSIN_REFLECTION": "yes"}),
        ("redis.internal:6379 is not encrypted", {"REDIS_URL": "redis://tocsin:secret@redis.internal:6379/0"}),
        ("redis.internal asks for no password", {"REDIS_URL": "rediss://redis.internal"}),
        ("a:1 is not encrypted", {"REDIS_URL": "redis+cluster://:secret@a:1,b:2"}),
        (
            "m.internal is not encrypted",
            {"REDIS_URL": "", "MONGODB_URL": "mongodb://a:secret@m.internal/db?replicaSet=r"},
        ),
        ("m.internal asks for no password", {"REDIS_URL": "", "MONGODB_URL": "mongodb+srv://m.internal/db"}),
        ("mail.transport: it writes into a folder", {"TOCSIN_MAIL__TRANSPORT": "file:outbox"}),
        ("sms.url: it writes into a folder", {"TOCSIN_SMS__URL": "file:outbox"}),
    ],
)
def test_each_condition_is_told(said: str, env: dict[str, str]) -> None:
    lines = conditions(**env)
    assert [line for line in lines if said in line]
    assert not any("secret" in line and "tls" not in line for line in lines if "command line" not in line)


@pytest.mark.parametrize(
    "env",
    [
        {"REDIS_URL": "redis://127.0.0.1:6379"},
        {"REDIS_URL": "redis://localhost"},
        {"REDIS_URL": "unix:///run/redis.sock"},
        {"REDIS_URL": "redis+sentinel://127.0.0.1:1,localhost:2/service"},
        {"REDIS_URL": "", "MONGODB_URL": "mongodb://a:secret@m.internal,n.internal/db?tls=true"},
        {"REDIS_URL": "", "MONGODB_URL": "mongodb://m.internal/db?tls=true&authMechanism=MONGODB-X509"},
        {"REDIS_URL": "", "MONGODB_URL": "mongodb+srv://a:secret@m.internal/db"},
        {"REDIS_URL": "", "REDIS_HOST": "localhost"},
    ],
)
def test_a_store_on_this_machine_or_over_tls_with_a_login_is_right(env: dict[str, str]) -> None:
    assert conditions(**env) == []


def test_root_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert conditions() == ["the server runs as root: give it a user of its own"]


def test_a_secret_on_the_command_line_is_told() -> None:
    url = RIGHT["REDIS_URL"]
    [line] = conditions("tocsin", "serve", "--redis-url", url)
    assert "command line" in line
    assert "secret@" not in line


@pytest.mark.parametrize(("mask", "told"), [(0o022, False), (0o027, False), (0o077, False), (0o002, True), (0, True)])
def test_a_wide_umask_is_told(mask: int, told: bool) -> None:
    before = os.umask(mask)
    try:
        assert [line for line in conditions() if line.startswith(f"umask {mask:03o} ")] == conditions()
        assert bool(conditions()) is told
    finally:
        os.umask(before)


@pytest.mark.parametrize(
    ("mode", "told"), [(0o600, False), (0o640, False), (0o400, False), (0o644, True), (0o660, True)]
)
def test_a_file_with_a_secret_that_others_may_read_is_told(tmp_path: Path, mode: int, told: bool) -> None:
    path = tmp_path / "url"
    path.write_text(RIGHT["REDIS_URL"])
    path.chmod(mode)
    lines = conditions(REDIS_URL="", REDIS_URL_FILE=str(path))
    assert [line.partition(":")[0] for line in lines] == ["store.url_file"] * told
    key = tmp_path / "key.pem"
    key.touch(mode)
    key.chmod(mode)
    lines = conditions(TOCSIN_TLS__KEY_FILE=str(key))
    assert [line.partition(":")[0] for line in lines] == ["tls.key_file"] * told


@pytest.mark.parametrize(("mode", "told"), [(0o700, False), (0o750, True), (0o755, True)])
def test_a_data_folder_that_others_can_enter_is_told(tmp_path: Path, mode: int, told: bool) -> None:
    tmp_path.chmod(mode)
    lines = conditions(REDIS_URL="", TOCSIN_DATA=str(tmp_path))
    tmp_path.chmod(0o700)
    assert [line.partition(":")[0] for line in lines] == ["data"] * told


def test_a_store_that_keeps_nothing_is_told() -> None:
    assert store_unfit_for_production(keeps_nothing=False) == []
    assert "persistence" in store_unfit_for_production(keeps_nothing=True)[0]


def test_production_leaves_reflection_out_where_nobody_asks_for_it() -> None:
    assert not settings(**RIGHT).reflects
    assert settings().reflects
    assert not settings(TOCSIN_REFLECTION="no").reflects
