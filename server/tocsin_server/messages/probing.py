"""Whether mail and text messages could leave: for checks, without sending any."""

from __future__ import annotations

import asyncio
import contextlib
import os
from datetime import timedelta
from urllib.parse import urlsplit

from tocsin_server.messages.errors import MessageSettingsError
from tocsin_server.messages.mail.smtp import SmtpTransport
from tocsin_server.messages.mail.url import open_transport as open_mail
from tocsin_server.messages.sms.url import open_transport as open_sms
from tocsin_server.settings import SmsSettings

_PATIENCE = timedelta(seconds=5)
_PORTS = {"http": 80, "https": 443}


async def probe_mail(url: str) -> str | None:
    """What keeps mail from leaving by this transport, None where nothing is seen. A mail server is connected to only:
    whether it takes the login or a mail shows when one is sent."""
    try:
        transport = open_mail(url, _PATIENCE)
    except MessageSettingsError as error:
        return str(error)
    if not isinstance(transport, SmtpTransport):
        return _probe_folder(url)
    return await _probe_address(transport.server.host, transport.server.port)


async def probe_sms(settings: SmsSettings) -> str | None:
    """What keeps text messages from leaving by `settings.url`, None where nothing is seen. A provider is connected to
    only: whether it takes the login or a message shows when one is sent."""
    url = settings.url.get_secret_value() if settings.url else ""
    try:
        open_sms(url, settings, _PATIENCE)
    except MessageSettingsError as error:
        return str(error)
    parts = urlsplit(url)
    if parts.scheme.lower() not in _PORTS:
        return None
    return await _probe_address(parts.hostname or "", parts.port or _PORTS[parts.scheme.lower()])


async def _probe_address(host: str, port: int) -> str | None:
    try:
        async with asyncio.timeout(_PATIENCE.total_seconds()):
            _, writer = await asyncio.open_connection(host, port)
    except (OSError, TimeoutError) as error:
        return f"nothing answers on {host}:{port} ({error or 'no answer in time'})"
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return None


def _probe_folder(url: str) -> str | None:
    folder = os.path.abspath(url.removeprefix("file:"))
    while not os.path.exists(folder):  # it is made with the first mail
        folder = os.path.dirname(folder)
    if not os.path.isdir(folder) or not os.access(folder, os.W_OK):
        return f"{folder} is not a folder that this user may write to"
    return None
