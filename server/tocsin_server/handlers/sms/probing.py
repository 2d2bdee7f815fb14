"""Whether text messages could leave: for checks, without sending any."""

from __future__ import annotations

import asyncio
import contextlib
from urllib.parse import urlsplit

from tocsin_server.handlers.sms.opening import open_transport
from tocsin_server.handlers.sms.settings import SmsSettings, SmsSettingsError

_PATIENCE_SECONDS = 5.0
_PORTS = {"http": 80, "https": 443}


async def probe_sms(settings: SmsSettings) -> str | None:
    """What keeps text messages from leaving by `settings.url`, None where nothing is seen. A provider is connected to
    only: whether it takes the login or a message shows when one is sent."""
    url = settings.url or ""
    try:
        open_transport(url, settings)
    except SmsSettingsError as error:
        return str(error)
    parts = urlsplit(url)
    if parts.scheme.lower() not in _PORTS:
        return None
    host, port = parts.hostname, parts.port or _PORTS[parts.scheme.lower()]
    try:
        async with asyncio.timeout(_PATIENCE_SECONDS):
            _, writer = await asyncio.open_connection(host, port)
    except (OSError, TimeoutError) as error:
        return f"nothing answers on {host}:{port} ({error or 'no answer in time'})"
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return None
