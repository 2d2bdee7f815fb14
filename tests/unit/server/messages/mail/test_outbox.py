"""Mail into a folder."""

from __future__ import annotations

import asyncio
import os
from datetime import UTC, datetime
from email import message_from_bytes
from pathlib import Path

import pytest
from tocsin_server.messages.errors import Deferred
from tocsin_server.messages.mail.message import Letter, Mail, compose
from tocsin_server.messages.mail.outbox import MailOutbox
from tocsin_server.messages.stamp import Stamp

NOW = datetime(2026, 11, 24, 16, 30, 5, 123456, tzinfo=UTC)


def a_mail(job_id: str = "job-1", attempt: int = 1) -> Mail:
    letter = Letter("shop@example.com", ["ada@example.com"], "Hello", "Hi Ada", "", bcc=["eve@example.com"])
    return compose(letter, Stamp("default", job_id, NOW, attempt, NOW))


async def test_a_mail_is_one_eml_file_in_a_folder_made_for_it(tmp_path: Path) -> None:
    mail = a_mail()
    delivery = await MailOutbox(tmp_path / "new" / "outbox").send(mail)

    [file] = (tmp_path / "new" / "outbox").iterdir()
    assert file.name.startswith("20261124T163005.123456Z-")
    assert file.suffix == ".eml"
    assert file.read_bytes() == mail.content
    assert message_from_bytes(file.read_bytes())["Subject"] == "Hello"
    assert delivery.accepted == ("ada@example.com", "eve@example.com")
    assert delivery.refused == {}
    assert (file.stat().st_mode & 0o777, file.parent.stat().st_mode & 0o777) == (0o600, 0o700)


async def test_mails_of_one_instant_lie_side_by_side_whatever_the_ids_of_their_jobs(tmp_path: Path) -> None:
    outbox = MailOutbox(tmp_path)
    ids = ["a", "../../a", "/etc/passwd", "日本\u202e", "x" * 200, "a\\b:c*?"]
    await asyncio.gather(*(outbox.send(a_mail(job_id)) for job_id in ids), outbox.send(a_mail("a", attempt=2)))
    names = os.listdir(tmp_path)
    assert len(names) == len(ids) + 1
    assert all(name.isascii() and name.endswith(".eml") and len(name) < 100 for name in names)


async def test_a_folder_that_cannot_be_written_defers_the_mail_and_leaves_nothing_half_written(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(Deferred, match="could not be written") as caught:
        await MailOutbox(tmp_path / "taken").send(a_mail())
    assert str(tmp_path) not in str(caught.value)

    mail = a_mail()
    target = tmp_path / "outbox" / f"20261124T163005.123456Z-{mail.mark}.eml"
    target.mkdir(parents=True)  # a folder of that name cannot be replaced by a file
    with pytest.raises(Deferred):
        await MailOutbox(target.parent).send(mail)
    assert list(target.parent.iterdir()) == [target]
