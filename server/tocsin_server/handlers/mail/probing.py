"""Whether mail could leave: for checks, without sending any."""

from __future__ import annotations

import asyncio
import contextlib
import os
from datetime import timedelta

from tocsin_server.handlers.mail.opening import open_transport
from tocsin_server.handlers.mail.settings import MailSettingsError
from tocsin_server.handlers.mail.smtp import SmtpTransport

_PATIENCE = timedelta(seconds=5)


async def probe_mail(url: str) -> str | None:
    """What keeps mail from leaving by this transport, None where nothing is seen. A mail server is connected to only:
    whether it takes the login or a mail shows when one is sent."""
    try:
        transport = open_transport(url, _PATIENCE)
    except MailSettingsError as error:
        return str(error)
    if not isinstance(transport, SmtpTransport):
        return _probe_folder(url)
    server = transport.server
    try:
        async with asyncio.timeout(_PATIENCE.total_seconds()):
            _, writer = await asyncio.open_connection(server.host, server.port)
    except (OSError, TimeoutError) as error:
        return f"nothing answers on {server.host}:{server.port} ({error or 'no answer in time'})"
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
