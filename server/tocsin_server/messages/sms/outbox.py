"""Text messages into a folder, for development: one .json file a message."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from pathlib import Path

from tocsin_server.messages.errors import Deferred
from tocsin_server.messages.private_files import make_folder, write_whole
from tocsin_server.messages.sms.transport import Message, SmsTransport


class SmsOutbox(SmsTransport):
    """Writes each message to a file of its own in `folder`, which is made when it is missing."""

    def __init__(self, folder: Path) -> None:
        # Absolute, so that a change of the working directory does not move it.
        self.folder = folder.absolute()

    @property
    def needs_sender(self) -> bool:
        """Nobody gets it, so nobody has to know whom it is from."""
        return False

    async def send(self, message: Message) -> str:
        """Write the file. Deferred where the folder cannot be written."""
        try:
            await asyncio.to_thread(self._write, message)
        except OSError as error:
            raise Deferred(
                f"the text message could not be written to the folder of sms.url: {error.strerror}", everyone=True
            ) from error
        return ""

    def _write(self, message: Message) -> None:
        # Sorts by time. A message's id is hexadecimal digits and a number, whatever letters the job's id has.
        name = f"{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}-{message.message_id}.json"
        said = {"id": message.message_id, "to": message.to, "from": message.sender, "text": message.text}
        make_folder(self.folder)
        content = (json.dumps(said, ensure_ascii=False, indent=2) + "\n").encode()
        # Whoever watches the folder sees whole messages only.
        write_whole(self.folder / f".{name}.tmp", self.folder / name, content)
