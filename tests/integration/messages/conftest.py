"""Whole servers on each provider, a mail server and an SMS provider on loopback."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
from support.mail_server import MailServer, mail_server
from support.sms_provider import ACCOUNT, TOKEN, SmsProvider, sms_provider

from integration.housekeeping.conftest import connect, empty_store, start

__all__ = ["connect", "empty_store", "start"]


@pytest.fixture
async def mails() -> AsyncIterator[MailServer]:
    """A mail server that keeps what it takes."""
    async with mail_server() as server:
        yield server


@pytest.fixture
def provider() -> Iterator[SmsProvider]:
    """An SMS provider that keeps what it takes."""
    with sms_provider() as running:
        yield running


@pytest.fixture
def ways(mails: MailServer, provider: SmsProvider) -> dict[str, str]:
    """The settings of a server that sends by both."""
    return {
        "TOCSIN_MAIL__TRANSPORT": f"smtp://127.0.0.1:{mails.port}",
        "TOCSIN_MAIL__SENDER": "Shop <shop@example.com>",
        "TOCSIN_SMS__URL": provider.url,
        "TOCSIN_SMS__USER": ACCOUNT,
        "TOCSIN_SMS__PASSWORD": TOKEN,
        "TOCSIN_SMS__SENDER": "+12025550123",
    }
