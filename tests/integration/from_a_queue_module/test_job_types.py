"""The six types that come with the server, and those of one's own."""

from __future__ import annotations

import csv
import email
import json
from email.message import EmailMessage
from email.policy import default
from pathlib import Path
from typing import Any

import pytest
from support.servers import Server
from tocsin import Client, InvalidArgument, Job

from integration.from_a_queue_module.lines import Lines
from integration.from_a_queue_module.moved_times import backdated

on_redis = pytest.mark.parametrize("server", ["redis"], indirect=True)


def result_of(client: Client, job: Job) -> Any:
    done = client.wait(job, timeout=20)
    assert done.state == "COMPLETED", done.errors
    return done.result


def last_mail(server: Server) -> EmailMessage:
    """The newest mail in the server's folder."""
    [*_, newest] = folder(server, "mails")
    found = email.message_from_bytes(newest.read_bytes(), policy=default)
    assert isinstance(found, EmailMessage)
    return found


def last_text(server: Server) -> dict[str, str]:
    """The newest text message in the server's folder."""
    [*_, newest] = folder(server, "texts")
    found: dict[str, str] = json.loads(newest.read_text())
    return found


def folder(server: Server, name: str) -> list[Path]:
    return sorted((server.folder / name).iterdir())


def test_email_notification(lines: Lines, server: Server, client: Client) -> None:
    made = result_of(client, lines.python())
    sent = last_mail(server)
    assert sent["Message-ID"] == made["message_id"]
    assert (sent["To"], sent["Subject"], sent.get_content().strip()) == ("Ada <ada@example.com>", "Hello", "Hi Ada")


def test_sms_notification(lines: Lines, server: Server, client: Client) -> None:
    assert result_of(client, lines.python())["accepted"] == [{"address": "+4915112345678"}]
    assert (last_text(server)["to"], last_text(server)["text"]) == ("+4915112345678", "Hi Ada")


def test_booking_reminder(lines: Lines, server: Server, client: Client) -> None:
    assert set(result_of(client, lines.python())) == {"email"}
    assert last_mail(server)["Subject"] == "Reminder: Haircut, Thu 24 Dec 2099, 18:00"


def test_payment_reminder(lines: Lines, server: Server, client: Client) -> None:
    result_of(client, lines.python())
    assert last_text(server)["text"] == "Reminder: your payment, EUR 42.00, due Thu 24 Dec 2099"


def test_data_cleanup(lines: Lines, server: Server, client: Client) -> None:
    for job_id in ("old", "young"):
        client.wait(client.schedule("noop", job_id=job_id), timeout=20)
    backdated(server, client, ["old"], days=7)
    assert result_of(client, lines.python())["deleted"] == 1
    assert {job.job_id for job in client.list(types=["noop"])} == {"young"}


def test_report_generation(lines: Lines, server: Server, client: Client) -> None:
    client.wait(client.schedule("noop"), timeout=20)
    made = result_of(client, lines.python())
    [name] = made["files"]
    with (Path(made["folder"]) / name).open(newline="") as file:
        assert "noop" in {row["type"] for row in csv.DictReader(file)}


@on_redis
def test_type_as_json(lines: Lines, server: Server, client: Client) -> None:
    said = lines.shell().split()
    job = client.wait(said[1], timeout=20)
    assert (said[0], job.state) == ("scheduled", "COMPLETED")
    assert isinstance(job.result, dict)
    sent = last_mail(server)
    assert sent["Message-ID"] == job.result["message_id"]
    assert (sent["To"], sent["Subject"], sent.get_content().strip()) == ("ada@example.com", "Hello", "Hi Ada")


def test_plain_object_for_a_type(lines: Lines, client: Client) -> None:
    with pytest.raises(InvalidArgument, match=r"give the job its payload job\.email_notification"):
        lines.python()
    assert client.count() == 0


def test_custom_type(lines: Lines, client: Client) -> None:
    assert result_of(client, lines.python()) == "paid"
