"""What stands in the outbox is shown as it was written; what is none of ours spoils nothing, and leads nowhere."""

from __future__ import annotations

import json
import os
import tracemalloc
from pathlib import Path

import pytest
from pydantic import SecretStr
from tocsin import NotFound
from tocsin_server.messages.mail.body import body
from tocsin_server.settings import MailSettings, SmsSettings
from tocsin_server.web.pages import folders
from tocsin_server.web.serving import outboxes

SMS = {"id": "1", "to": "+4930123456", "from": "Shop", "text": "ready"}


def mail(text: str, **headers: str) -> bytes:
    """As the outbox has it."""
    said = {"To": "ada@example.com", "Subject": "Hello", **headers}
    return "".join(f"{name}: {value}\r\n" for name, value in said.items()).encode() + body(text, "")


def subjects(*places: Path) -> list[str]:
    """What the list says."""
    return sorted(one.subject for one in folders._messages(places))


@pytest.mark.parametrize(
    "text", ["one\ntwo\n", "öne\ntwo\n", "x" * 1_200 + "\ntwo\n"], ids=["7bit", "base64", "quoted"]
)
def test_a_mail_has_the_line_ends_that_were_written(text: str) -> None:
    assert folders._taken_apart("a.eml", mail(text))["text"] == text


def test_what_is_no_message_of_ours_is_passed_over(tmp_path: Path) -> None:
    for name, content in {
        "good.json": json.dumps(SMS).encode(),
        "good.eml": mail("hello"),
        "list.json": b"[1, 2]",
        "number.json": b"7",
        "null.json": b"null",
        "other.json": b'{"name": "x"}',
        "deep.json": b"[" * 50_000,
        "half.json": b'{"text": "',
        "bytes.json": b"\xff\xfe",
    }.items():
        (tmp_path / name).write_bytes(content)
    assert subjects(tmp_path) == ["Hello", "ready"]


def test_a_mail_of_a_charset_that_nobody_knows_is_shown(tmp_path: Path) -> None:
    raw = b"Subject: x\r\nContent-Type: text/plain; charset=klingon\r\n\r\nqapla\r\n"
    (tmp_path / "a.eml").write_bytes(raw)
    assert subjects(tmp_path) == ["x"]
    assert folders._taken_apart("a.eml", raw)["text"] == "qapla\n"


def test_links_and_pipes_lead_nowhere(tmp_path: Path) -> None:
    outbox, secret = tmp_path / "outbox", tmp_path / "secret.json"
    outbox.mkdir()
    secret.write_text(json.dumps(SMS))
    (outbox / "link.json").symlink_to(secret)
    (outbox / "link.csv").symlink_to(secret)
    os.mkfifo(outbox / "pipe.eml")
    os.mkfifo(outbox / "pipe.csv")
    (outbox / "folder.eml").mkdir()
    assert subjects(outbox) == []
    assert folders._reports(outbox) == []
    for name in ("link.json", "link.csv", "pipe.eml", "folder.eml", "none.eml"):
        with pytest.raises(NotFound, match="no file"):
            folders._read((outbox,), name)
    assert folders._read((tmp_path,), "secret.json")


def test_of_a_large_file_a_list_reads_the_head_alone(tmp_path: Path) -> None:
    for name, begins in (("large.eml", mail("hello", Subject="Large")), ("large.json", b"")):
        with (tmp_path / name).open("wb") as file:
            file.write(begins)
            file.truncate(folders._MOST_BYTES + 1)
    tracemalloc.start()
    try:
        assert subjects(tmp_path) == ["Large"]
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()
    with pytest.raises(NotFound, match="larger than 32 MiB"):
        folders._read((tmp_path,), "large.eml")


def test_a_folder_that_is_not_there_or_not_ours_is_empty(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert subjects(tmp_path / "none", tmp_path / "file") == []


@pytest.mark.parametrize("rest", ["{}", "//{}"])
def test_the_folder_is_the_one_that_is_written_to(tmp_path: Path, rest: str) -> None:
    url = "file:" + rest.format(str(tmp_path / "out%20box"))
    found = outboxes(MailSettings(transport=SecretStr(url)), SmsSettings(url=SecretStr(url)))
    assert found == (tmp_path / "out box",)
