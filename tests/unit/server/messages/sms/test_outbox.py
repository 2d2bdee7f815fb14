"""Text messages into a folder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tocsin_server.messages.errors import Deferred
from tocsin_server.messages.sms.outbox import SmsOutbox
from tocsin_server.messages.sms.transport import Message

MESSAGE = Message("abc.1", "+4915112345678", "Shop", "Grüße", "default", "job-1", 1)


async def test_each_message_is_a_file_of_its_own(tmp_path: Path) -> None:
    outbox = SmsOutbox(tmp_path / "made" / "on demand")
    await outbox.send(MESSAGE)
    await outbox.send(MESSAGE)
    files = list(outbox.folder.iterdir())
    assert [file.suffix for file in files] == [".json", ".json"]
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}
    assert outbox.folder.stat().st_mode & 0o777 == 0o700
    assert json.loads(files[0].read_text()) == {"id": "abc.1", "to": MESSAGE.to, "from": "Shop", "text": "Grüße"}


async def test_a_folder_that_cannot_be_written_is_tried_again(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(Deferred, match="could not be written") as caught:
        await SmsOutbox(tmp_path / "taken").send(MESSAGE)
    assert str(tmp_path) not in str(caught.value)
