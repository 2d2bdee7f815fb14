"""What is made of a secret in a file follows the file."""

from __future__ import annotations

from pathlib import Path

import structlog
from pydantic import SecretStr
from tocsin_server.messages.errors import MessageSettingsError
from tocsin_server.messages.renewed import Renewed
from tocsin_server.settings import FileSecret


def made_of(secret: SecretStr) -> Renewed[str]:
    def make() -> str:
        if secret.get_secret_value() == "bad":
            raise MessageSettingsError("mail.transport: it must begin with smtp://")
        return f"made of {secret.get_secret_value()}"

    return Renewed(make, secret, None)


def test_it_is_made_anew_when_the_file_has_changed_and_not_before(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text("one")
    renewed = made_of(FileSecret(path))
    first = renewed.get()
    assert first == "made of one"
    assert renewed.get() is first
    path.write_text("two\n")
    assert renewed.get() == "made of two"


def test_where_it_cannot_be_made_what_was_made_last_holds_and_that_is_said_once(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text("one")
    renewed = made_of(FileSecret(path))
    with structlog.testing.capture_logs() as logs:
        path.write_text("bad")
        assert [renewed.get(), renewed.get()] == ["made of one", "made of one"]
        path.unlink()
        assert renewed.get() == "made of one"
    [line] = logs
    assert line["error"] == "mail.transport: it must begin with smtp://"


def test_a_secret_that_is_in_no_file_stays() -> None:
    renewed = made_of(SecretStr("one"))
    assert renewed.get() is renewed.get()
