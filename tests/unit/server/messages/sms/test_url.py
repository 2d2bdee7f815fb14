"""What the settings of text messages name."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import ValidationError
from tocsin_server.messages.errors import MessageSettingsError
from tocsin_server.messages.sms.http import HttpTransport
from tocsin_server.messages.sms.outbox import SmsOutbox
from tocsin_server.messages.sms.texter import Texter
from tocsin_server.messages.sms.url import open_transport
from tocsin_server.settings import SmsSettings

URL = "https://api.example.com"
TIMEOUT = timedelta(seconds=30)


def settings(**changed: object) -> SmsSettings:
    return SmsSettings(**{"url": URL, "user": "AC1", "password": "hush-hush", **changed})


def test_a_file_url_names_a_folder(tmp_path: Path) -> None:
    for url in (f"file:{tmp_path}", f"file://{tmp_path}"):
        transport = open_transport(url, settings(), TIMEOUT)
        assert isinstance(transport, SmsOutbox)
        assert transport.folder == tmp_path


@pytest.mark.parametrize(
    ("changed", "setting"),
    [
        ({"url": "ftp://hush-hush"}, "sms.url"),
        ({"url": "hush-hush"}, "sms.url"),
        ({"url": "https://"}, "sms.url"),
        ({"url": "https://host:hush-hush/"}, "sms.url"),
        ({"url": "https://host:0/"}, "sms.url"),
        ({"url": "https://[hush-hush/"}, "sms.url"),
        ({"url": "https://host/hush-hush x"}, "sms.url"),
        ({"url": "https://host/hush-hush#x"}, "sms.url"),
        ({"url": "https://ada:hush-hush@host/"}, "sms.user and sms.password"),
        ({"url": "https://host/\r\nhush-hush"}, "sms.url"),
        ({"url": "file:"}, "sms.url"),
        ({"url": "file://hush-hush/x"}, "sms.url"),
        ({"user": None}, "sms.user"),
        ({"user": "a:hush-hush"}, "sms.user"),
        ({"password": "hush-hush\r\nX: y"}, "sms.password"),
        ({"url": "https://host/x", "user": None, "password": "hush-häsch"}, "sms.password"),
    ],
)
def test_what_cannot_be_used_is_told_by_its_name_and_without_secrets(changed: dict[str, str], setting: str) -> None:
    with pytest.raises(MessageSettingsError, match=setting) as caught:
        open_transport(changed.get("url", URL), settings(**changed), TIMEOUT)
    assert "hush" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_form_that_is_none_is_told_by_its_name_and_without_secrets() -> None:
    with pytest.raises(ValidationError, match="form") as caught:
        settings(form="xml")
    assert "hush" not in str(caught.value)


def test_settings_show_no_secret() -> None:
    assert "hush" not in repr(settings(url="https://host/hush"))


def test_a_password_in_clear_text_is_warned_of_unless_it_stays_here() -> None:
    assert "clear text" in Texter(settings(url="http://gateway.example.com/")).warning
    for url in ("https://api.example.com", "http://127.0.0.1:80/", "http://localhost/"):
        assert Texter(settings(url=url)).warning == ""
    assert isinstance(open_transport("http://10.0.0.1/x", settings(form="json"), TIMEOUT), HttpTransport)
