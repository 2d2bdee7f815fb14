"""Text messages over HTTP, taken by a real server."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from support.mail_server import certificate
from support.ports import free_port
from support.sms_provider import ACCOUNT, TOKEN, Answer, SmsProvider, sms_provider
from tocsin_server.messages.errors import Deferred, Refused
from tocsin_server.messages.sms.transport import Message, SmsTransport
from tocsin_server.messages.sms.url import open_transport
from tocsin_server.settings import SmsSettings

MESSAGE = Message("abc.1", "+4915112345678", "+12025550123", "Grüße & 1+1=2 😀\n", "default", "job-1", 2)
TIMEOUT = timedelta(seconds=5)
SECRETS = (TOKEN, base64.b64encode(f"{ACCOUNT}:{TOKEN}".encode()).decode(), "hook-secret")


@pytest.fixture
def provider() -> Iterator[SmsProvider]:
    with sms_provider() as running:
        yield running


def twilio(url: str, timeout: timedelta = TIMEOUT) -> SmsTransport:
    return open_transport(url, SmsSettings(user=ACCOUNT, password=TOKEN), timeout)


def webhook(url: str, user: str | None = None, password: str | None = None) -> SmsTransport:
    return open_transport(url, SmsSettings(form="json", user=user, password=password), TIMEOUT)


async def test_twilios_form_is_posted_as_twilio_wants_it(provider: SmsProvider) -> None:
    assert await twilio(provider.url).send(MESSAGE) == f"SM{1:032}"
    [posted] = provider.posted
    assert posted.form == {"To": MESSAGE.to, "From": MESSAGE.sender, "Body": MESSAGE.text}
    assert provider.taken == 1  # path, login and content type are checked by the server


async def test_a_messaging_service_is_named_as_one(provider: SmsProvider) -> None:
    service = "MG00112233445566778899aabbccddeeff"
    await twilio(provider.url).send(replace(MESSAGE, sender=service))
    assert provider.posted[0].form["MessagingServiceSid"] == service


async def test_an_address_with_a_path_is_taken_as_it_is(provider: SmsProvider) -> None:
    await twilio(f"{provider.url}/own/path?key=hook-secret").send(MESSAGE)
    assert provider.posted[0].path == "/own/path?key=hook-secret"


async def test_a_webhook_gets_one_object_with_an_id_that_stays(provider: SmsProvider) -> None:
    provider.answers += [Answer(202, {"id": 77}), Answer(204, b""), Answer(200, b"ok")]
    transport = webhook(f"{provider.url}/hook")
    assert [await transport.send(replace(MESSAGE, attempt=n)) for n in (1, 2, 3)] == ["77", "", ""]
    first, second, _ = provider.posted
    assert first.json == {
        "id": "abc.1",
        "to": MESSAGE.to,
        "from": MESSAGE.sender,
        "text": MESSAGE.text,
        "queue": "default",
        "job_id": "job-1",
        "attempt": 1,
    }
    assert first.headers["content-type"] == "application/json"
    assert first.headers["idempotency-key"] == second.headers["idempotency-key"] == "abc.1"
    assert "authorization" not in first.headers


async def test_a_password_alone_is_a_bearer_token_and_a_sender_may_be_left_out(provider: SmsProvider) -> None:
    await webhook(provider.url, None, "t0ken").send(replace(MESSAGE, sender=""))
    await webhook(provider.url, "ada", "t0ken").send(MESSAGE)
    bearer, basic = provider.posted
    assert bearer.headers["authorization"] == "Bearer t0ken"
    assert basic.headers["authorization"] == "Basic " + base64.b64encode(b"ada:t0ken").decode()
    assert "from" not in bearer.json


async def test_too_many_is_tried_again_when_the_provider_says(provider: SmsProvider) -> None:
    provider.answers.append(Answer(429, {"code": 20429, "message": "slow down"}, {"Retry-After": "17"}))
    with pytest.raises(Deferred, match=r"429, error 20429: slow down") as caught:
        await twilio(provider.url).send(MESSAGE)
    assert caught.value.retry_in == timedelta(seconds=17)


async def test_a_number_that_is_none_is_final(provider: SmsProvider) -> None:
    provider.answers.append(Answer(400, {"code": 21211, "message": "The 'To' number is not valid"}))
    with pytest.raises(Refused, match="400, error 21211: The 'To' number is not valid"):
        await twilio(provider.url).send(MESSAGE)


async def test_a_redirect_is_not_followed_as_the_login_would_go_with_it(provider: SmsProvider) -> None:
    provider.answers.append(Answer(307, {}, {"Location": f"{provider.url}/elsewhere"}))
    with pytest.raises(Refused, match=r"mend sms\.url"):
        await twilio(provider.url).send(MESSAGE)
    assert len(provider.posted) == 1


@pytest.mark.parametrize("answer", [Answer(0, silent=True), Answer(0, cut=True)], ids=["silence", "a cut"])
async def test_no_answer_is_tried_again(provider: SmsProvider, answer: Answer) -> None:
    provider.answers.append(answer)
    transport = twilio(provider.url, timeout=timedelta(milliseconds=300))
    with pytest.raises(Deferred) as caught:
        await transport.send(MESSAGE)
    assert caught.value.everyone
    assert caught.value.__cause__ is None


async def test_a_provider_that_is_away_is_tried_again() -> None:
    with pytest.raises(Deferred, match="cannot be reached") as caught:
        await twilio(f"http://127.0.0.1:{free_port()}").send(MESSAGE)
    assert caught.value.everyone


async def test_of_an_endless_answer_only_the_beginning_is_read(provider: SmsProvider) -> None:
    provider.answers.append(Answer(400, b"x" * 50_000_000))
    with pytest.raises(Refused, match=r"answers 400$"):
        await twilio(provider.url).send(MESSAGE)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 500])
async def test_no_error_tells_a_secret_whatever_the_provider_repeats(provider: SmsProvider, status: int) -> None:
    provider.answers.append(Answer(status, {"code": 1, "message": " ".join(SECRETS[:2])}))
    with pytest.raises((Refused, Deferred)) as caught:
        await twilio(f"{provider.url}/x?token=hook-secret").send(MESSAGE)
    assert not [secret for secret in SECRETS if secret in repr(caught.value)]


async def test_a_certificate_that_nobody_knows_is_not_trusted(
    tmp_path: Path, provider: SmsProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, context = certificate(tmp_path)

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(talk, "127.0.0.1", 0, ssl=context) as server:
        url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        with pytest.raises(Deferred, match="cannot be reached"):
            await webhook(url).send(MESSAGE)
        monkeypatch.setenv("SSL_CERT_FILE", str(file))
        assert await webhook(url).send(MESSAGE) == ""
