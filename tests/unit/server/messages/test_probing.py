"""Whether text messages could leave."""

from __future__ import annotations

from pathlib import Path

from support.ports import free_port
from support.sms_provider import sms_provider
from tocsin_server.messages.probing import probe_sms
from tocsin_server.settings import SmsSettings


async def test_a_provider_that_answers_is_fine_and_nothing_is_sent() -> None:
    with sms_provider() as provider:
        assert await probe_sms(SmsSettings(url=provider.url, user="AC1")) is None
        assert provider.posted == []


async def test_a_provider_that_is_away_is_told() -> None:
    port = free_port()
    said = await probe_sms(SmsSettings(url=f"http://127.0.0.1:{port}/hush", form="json"))
    assert said is not None
    assert f"nothing answers on 127.0.0.1:{port}" in said
    assert "hush" not in said


async def test_settings_that_cannot_be_used_are_told(tmp_path: Path) -> None:
    assert "sms.user" in (await probe_sms(SmsSettings(url="https://api.twilio.com")) or "")
    assert await probe_sms(SmsSettings(url=f"file:{tmp_path}")) is None
