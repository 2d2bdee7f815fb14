"""Mail into a folder, for development: one .eml file a mail, which mail programs open."""

from __future__ import annotations

import asyncio
from datetime import UTC
from pathlib import Path

from tocsin_server.messages.errors import Deferred
from tocsin_server.messages.mail.message import Mail
from tocsin_server.messages.mail.transport import Delivery, MailTransport
from tocsin_server.messages.private_files import make_folder, write_whole


class MailOutbox(MailTransport):
    """Writes each mail to a file of its own in `folder`, which is made when it is missing. Takes every recipient."""

    def __init__(self, folder: Path) -> None:
        # Absolute, so that a change of the working directory does not move it.
        self.folder = folder.absolute()

    async def send(self, mail: Mail) -> Delivery:
        """Write the file. Deferred where the folder cannot be written."""
        try:
            await asyncio.to_thread(self._write, mail)
        except OSError as error:
            raise Deferred(
                f"the mail could not be written to the folder of mail.transport: {error.strerror}", everyone=True
            ) from error
        return Delivery(mail.recipients, {})

    def _write(self, mail: Mail) -> None:
        # Sorts by time. The mark is hexadecimal digits and a number, whatever letters the job's id has.
        name = f"{mail.send_time.astimezone(UTC):%Y%m%dT%H%M%S.%fZ}-{mail.mark}.eml"
        make_folder(self.folder)
        # Whoever watches the folder sees whole mails only.
        write_whole(self.folder / f".{name}.tmp", self.folder / name, mail.content)
