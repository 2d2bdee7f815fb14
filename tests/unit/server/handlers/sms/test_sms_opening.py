"""What the settings of text messages name."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tocsin_server.handlers.sms.http import HttpTransport
from tocsin_server.handlers.sms.opening import open_transport
from tocsin_server.handlers.sms.outbox import OutboxTransport
from tocsin_server.handlers.sms.settings import SmsSettings, SmsSettingsError
from tocsin_server.handlers.sms.texter import Texter

SETTINGS = SmsSettings("https://api.example.com", user="AC1", password="hush-hush")


def test_a_file_url_names_a_folder(tmp_path: Path) -> None:
    for url in (f"file:{tmp_path}", f"file://{tmp_path}"):
        transport = open_transport(url, SETTINGS)
        assert isinstance(transport, OutboxTransport)
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
        ({"form": "xml"}, "sms.form"),
        ({"user": None}, "sms.user"),
        ({"user": "a:hush-hush"}, "sms.user"),
        ({"password": "hush-hush\r\nX: y"}, "sms.password"),
        ({"url": "https://host/x", "user": None, "password": "hush-häsch"}, "sms.password"),
    ],
)
def test_what_cannot_be_used_is_told_by_its_name_and_without_secrets(changed: dict[str, str], setting: str) -> None:
    settings = replace(SETTINGS, **changed)  # type: ignore[arg-type]  # the field's type hangs on its name
    with pytest.raises(SmsSettingsError, match=setting) as caught:
        open_transport(settings.url or "", settings)
    assert "hush" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_settings_show_no_secret() -> None:
    assert "hush" not in repr(replace(SETTINGS, url="https://host/hush"))


def test_a_password_in_clear_text_is_warned_of_unless_it_stays_here() -> None:
    assert "clear text" in Texter(replace(SETTINGS, url="http://gateway.example.com/")).warning
    for url in ("https://api.example.com", "http://127.0.0.1:80/", "http://localhost/"):
        assert Texter(replace(SETTINGS, url=url)).warning == ""
    assert isinstance(open_transport("http://10.0.0.1/x", replace(SETTINGS, form="json")), HttpTransport)
