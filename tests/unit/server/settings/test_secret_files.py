"""Secrets in files: read without their last line break, read anew, and never beside the same secret in clear."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
from support.loaded_settings import refused, settings
from tocsin_server.settings import FileSecret, Flag, load, secrets_of, without

SECRETS = {
    "REDIS_PASSWORD": "store.password",
    "TOCSIN_STORE__PASSWORD": "store.password",
    "TOCSIN_SMS__PASSWORD": "sms.password",
}
CANARY = "c4nary-in-a-file"


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "secret"
    path.write_text(f"{CANARY}\n")
    path.chmod(0o640)
    return path


@pytest.mark.parametrize(("variable", "setting"), SECRETS.items())
def test_a_secret_may_stand_in_a_file(secret: Path, variable: str, setting: str) -> None:
    loaded = load([], {f"{variable}_FILE": str(secret), "QUEUE_PROVIDER": "redis"})
    group, name = setting.split(".")
    assert getattr(getattr(loaded.settings, group), name).get_secret_value() == CANARY
    [origin] = [origin for origin in loaded.origins if origin.setting == setting]
    assert (origin.shown, origin.source) == ("***", f"{variable}_FILE")
    assert secrets_of(loaded.settings) == [CANARY]
    assert CANARY not in repr(loaded)


@pytest.mark.parametrize("variable", ["REDIS_URL", "MONGODB_URL", "TOCSIN_MAIL__TRANSPORT", "TOCSIN_SMS__URL"])
def test_an_address_may_stand_in_a_file_too(secret: Path, variable: str) -> None:
    scheme = {"REDIS_URL": "redis", "MONGODB_URL": "mongodb", "TOCSIN_MAIL__TRANSPORT": "smtp"}.get(variable, "https")
    secret.write_text(f"{scheme}://ada:{CANARY}@store.example\r\n")
    loaded = load([], {f"{variable}_FILE": str(secret)})
    shown = [origin.shown for origin in loaded.origins if origin.source == f"{variable}_FILE"]
    assert any("store.example" in text for text in shown)
    assert CANARY not in str(shown)


@pytest.mark.parametrize(
    ("written", "meant"), [("a", "a"), ("a\n", "a"), ("a\r\n", "a"), ("a\n\n", "a\n"), (" a b ", " a b "), ("a\r", "a")]
)
def test_one_line_break_at_the_end_is_cut(secret: Path, written: str, meant: str) -> None:
    secret.write_bytes(written.encode())
    password = settings(REDIS_HOST="h", REDIS_PASSWORD_FILE=str(secret)).store.password
    assert password is not None
    assert password.get_secret_value() == meant


def test_signing_secrets_may_stand_in_a_file(secret: Path) -> None:
    secret.write_text("orders=sixteen-characters sixteen-other-ones\n")
    got = settings(TOCSIN_HTTP__SECRETS_FILE=str(secret)).http.secrets
    assert [one.get_secret_value() for one in got["orders"]] == ["sixteen-characters", "sixteen-other-ones"]


def test_in_the_file_of_settings_it_is_named_likewise_from_its_folder(secret: Path, tmp_path: Path) -> None:
    config = tmp_path / "tocsin.toml"
    config.write_text('[store]\nhost = "h"\npassword_file = "secret"\n')
    assert settings(config=config).store.address() == f"redis://:{CANARY}@h:6379/0"
    config.write_text('[store]\nhost = "h"\npassword = "x"\npassword_file = "secret"\n')
    assert "store.password is given, too; leave one of the two out" in refused(config=config)[0]
    config.write_text('[store]\nhost_file = "secret"\n')
    assert "there is no such setting" in refused(config=config)[0]


def test_a_secret_and_its_file_are_not_given_both(secret: Path) -> None:
    [line] = refused(REDIS_PASSWORD="x", REDIS_PASSWORD_FILE=str(secret))
    assert line == "REDIS_PASSWORD_FILE: REDIS_PASSWORD is given, too; leave one of the two out"


def test_a_flag_goes_before_a_file_as_before_any_variable(secret: Path) -> None:
    got = settings(Flag("--redis-url", "store.url", "redis://h"), REDIS_URL_FILE=str(secret))
    assert got.store.address() == "redis://h"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "cannot be read"),
        (b"", "is empty"),
        (b"\n", "is empty"),
        (b"\xff", "not UTF-8"),
        (b"x" * 70_000, "65,536"),
    ],
)
def test_a_file_that_holds_no_secret_is_named(tmp_path: Path, content: bytes | None, said: str) -> None:
    path = tmp_path / "other"
    if content is not None:
        path.write_bytes(content)
    [line] = refused(REDIS_HOST="h", REDIS_PASSWORD_FILE=str(path))
    assert line.startswith(f"REDIS_PASSWORD_FILE: {path}")
    assert said in line


def test_a_file_for_a_store_that_was_not_chosen_is_not_read() -> None:
    got = settings(QUEUE_PROVIDER="mongo", REDIS_PASSWORD_FILE="/no/such/file", REDIS_URL_FILE="/no/such/file")
    assert got.store.kind == "mongo"


def test_only_secrets_stand_in_files(secret: Path) -> None:
    assert "there is no such setting" in refused(TOCSIN_LISTEN_FILE=str(secret))[0]


def test_what_stands_there_now_counts_and_else_what_stood_there_last(secret: Path) -> None:
    seen: list[str] = []
    got = settings(REDIS_HOST="h", REDIS_PASSWORD_FILE=str(secret)).store
    elsewhere = pickle.loads(pickle.dumps(got))
    FileSecret.on_change = seen.append
    try:
        secret.write_text("another")
        assert got.address() == elsewhere.address() == "redis://:another@h:6379/0"
        secret.unlink()
        assert got.address() == "redis://:another@h:6379/0"
    finally:
        FileSecret.on_change = None
    assert seen == ["another", "another"]


def test_secret_variables_are_told_for_who_starts_processes(secret: Path) -> None:
    environ = {
        "REDIS_URL": "redis://:pw@h",
        "TOCSIN_SMS__PASSWORD": "pw",
        "TOCSIN_MAIL__TRANSPORT_FILE": str(secret),
        "TOCSIN_LISTEN": "127.0.0.1:1",
        "PATH": "/bin",
    }
    assert set(load([], environ).secret_variables) == {"REDIS_URL", "TOCSIN_SMS__PASSWORD"}


def test_tocsin_dev_takes_no_address_of_a_store_from_files_either(secret: Path) -> None:
    assert without({"REDIS_URL_FILE": str(secret), "TOCSIN_STORE__PASSWORD_FILE": "x", "A": "b"}, "store") == {"A": "b"}
