"""E-mail jobs, from the call to the mail that arrives."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import SMTP
from pathlib import Path

import pytest
from google.protobuf import json_format, struct_pb2
from support.mail_server import mail_server
from support.ports import free_port
from support.redis_backend import RedisBackend
from support.servers import Server
from support.stubs import State, Stubs, request
from tocsin.v1.payloads_pb2 import EmailNotification

StartServer = Callable[..., Server]
TYPE = "email_notification"


def schedule(stubs: Stubs, queue: str, mail: EmailNotification) -> str:
    return stubs.jobs.ScheduleJob(request(queue, "", email_notification=mail)).job.job_id


def written(outbox: Path) -> EmailMessage:
    [file] = outbox.glob("*.eml")
    message = message_from_bytes(file.read_bytes(), policy=SMTP)
    assert isinstance(message, EmailMessage)
    return message


def test_a_scheduled_mail_lands_in_the_outbox(
    redis: RedisBackend, serve: StartServer, queue: str, tmp_path: Path
) -> None:
    templates, outbox = tmp_path / "templates", tmp_path / "outbox"
    templates.mkdir()
    (templates / "order.subject").write_text("Order {{ number }}\n")
    (templates / "order.txt").write_text("Hi {{ name }}")
    (templates / "order.html").write_text("<p>Hi {{ name }}</p>")
    server = serve(
        redis.url,
        TOCSIN_MAIL__TRANSPORT=f"file:{outbox}",
        TOCSIN_MAIL__SENDER="Shop <shop@example.com>",
        TOCSIN_MAIL__TEMPLATES=str(templates),
        TOCSIN_QUEUES=queue,
    )
    data = struct_pb2.Struct()
    data.update({"name": "<Ada>", "number": 7})
    with Stubs(server.address) as stubs:
        mail = EmailNotification(to=["Ada <ada@example.com>"], template="order", template_data=data)
        job = stubs.wait_for(queue, schedule(stubs, queue, mail))

    assert (job.state, job.spec.type) == (State.COMPLETED, TYPE)
    message = written(outbox)
    assert str(message["From"]) == "Shop <shop@example.com>"
    assert message["Subject"] == "Order 7"
    assert [part.get_content().strip() for part in message.iter_parts()] == ["Hi <Ada>", "<p>Hi &lt;Ada&gt;</p>"]
    assert message["Message-ID"] in json_format.MessageToJson(job.result)


@pytest.mark.timeout(60)
async def test_a_mail_goes_through_a_mail_server_which_refuses_some(
    redis: RedisBackend, serve: StartServer, queue: str
) -> None:
    async with mail_server() as mails:
        mails.answers = {"bob@example.com": "550 no such user"}
        server = await asyncio.to_thread(
            serve,
            redis.url,
            TOCSIN_MAIL__TRANSPORT=f"smtp://127.0.0.1:{mails.port}",
            TOCSIN_MAIL__SENDER="shop@example.com",
            TOCSIN_QUEUES=queue,
        )
        with Stubs(server.address) as stubs:
            to_two = EmailNotification(to=["ada@example.com", "bob@example.com"], subject="Grüße", text="Hi")
            to_bob = EmailNotification(to=["bob@example.com"], subject="Grüße", text="Hi")
            ids = [schedule(stubs, queue, mail) for mail in (to_two, to_bob)]
            some, none = [await asyncio.to_thread(stubs.wait_for, queue, job_id) for job_id in ids]

    assert mails.only_mail().recipients == ["ada@example.com"]
    assert mails.only_mail().message["Subject"] == "Grüße"
    assert some.state == State.COMPLETED
    assert "550 no such user" in json_format.MessageToJson(some.result)
    assert (none.state, none.attempt) == (State.FAILED, 1)
    assert "550 no such user" in none.errors[-1].message


def test_a_mail_server_that_is_away_is_tried_again_and_no_secret_is_told(
    redis: RedisBackend, serve: StartServer, queue: str
) -> None:
    server = serve(
        redis.url,
        TOCSIN_MAIL__TRANSPORT=f"smtp://ada:hush-hush@127.0.0.1:{free_port()}",
        TOCSIN_MAIL__SENDER="shop@example.com",
        TOCSIN_QUEUES=queue,
    )
    with Stubs(server.address) as stubs:
        spec = request(queue, "", email_notification=EmailNotification(to=["ada@example.com"], text="private words"))
        spec.job.retry.max_attempts = 2
        spec.job.retry.initial_delay.FromMilliseconds(10)
        job = stubs.wait_for(queue, stubs.jobs.ScheduleJob(spec).job.job_id)
    assert (job.state, job.attempt, job.failures) == (State.FAILED, 2, 2)
    assert "cannot be reached" in job.errors[-1].message
    assert "hush-hush" not in str(job) + server.said(1_000_000)
    assert "private words" not in server.said(1_000_000)


def test_without_a_transport_start_log_queue_health_and_job_say_so(
    redis: RedisBackend, serve: StartServer, queue: str
) -> None:
    server = serve(redis.url, TOCSIN_QUEUES=queue)
    assert "mail.transport" in server.said()
    with Stubs(server.address) as stubs:
        mail = EmailNotification(to=["ada@example.com"], text="Hi")
        job = stubs.wait_for(queue, schedule(stubs, queue, mail))
        health = stubs.health(queue)
    assert (job.state, job.attempt) == (State.FAILED, 1)
    assert "mail.transport" in job.errors[-1].message
    assert "mail.transport" in str(health)
