"""Reminders, handed to a real mail server and a real HTTP server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from pathlib import Path

import pytest
from support.mail_server import MailServer, mail_server
from support.sms_provider import Answer, SmsProvider, sms_provider
from tocsin.worker.errors import DoNotRetry, RetryLater
from tocsin_server.messages.errors import NotAllSent
from unit.server.handlers.reminders.reminder_builder import Bench, Gate, Remembered, booking, payment

ADA, BOB = "+4915112345678", "+4915112345679"


@pytest.fixture
async def mails() -> AsyncIterator[MailServer]:
    async with mail_server() as server:
        yield server


@pytest.fixture
def provider() -> Iterator[SmsProvider]:
    with sms_provider() as running:
        yield running


@pytest.fixture
def bench(mails: MailServer, provider: SmsProvider) -> Bench:
    return Bench(f"smtp://127.0.0.1:{mails.port}", f"{provider.url}/hook")


async def test_a_booking_is_told_by_mail_and_text_message(
    bench: Bench, mails: MailServer, provider: SmsProvider
) -> None:
    provider.answers.append(Answer(200, {"id": "m-1"}))
    result = await bench.send(booking(email_to=["Ada <ada@example.com>"], sms_to=[ADA]))

    mail = mails.only_mail().message
    assert mail["Subject"] == "Reminder: Haircut with Kim, Thu 24 Dec 2026, 18:00"
    text, html = _words(mail)
    for words in ("Haircut with Kim", "Thursday, 24 December 2026", "18:00 CET", "Europe/Berlin", "Lange Straße"):
        assert words in text
        assert words in html
    assert provider.posted[0].json["text"] == (
        "Reminder: Haircut with Kim, Thu 24 Dec 2026, 18:00 CET, Lange Straße 12"
    )
    assert result == {
        "email": {
            "accepted": [{"address": "Ada <ada@example.com>", "message_id": mail["Message-ID"]}],
            "refused": [],
        },
        "sms": {
            "encoding": "GSM-7",
            "length": 71,
            "segments": 1,
            "accepted": [{"address": ADA, "id": "m-1"}],
            "refused": [],
        },
    }


async def test_only_what_is_asked_for_is_sent(bench: Bench, mails: MailServer, provider: SmsProvider) -> None:
    assert set(await bench.send(booking())) == {"email"}
    assert set(await bench.send(booking(email_to=[], sms_to=[ADA]))) == {"sms"}
    assert (len(mails.mails), len(provider.posted)) == (1, 1)


async def test_nobody_sees_who_else_is_reminded(bench: Bench, mails: MailServer) -> None:
    await bench.send(booking(email_to=["ada@example.com", "bob@example.com"]))
    assert [mail.recipients for mail in mails.mails] == [["ada@example.com"], ["bob@example.com"]]
    assert b"bob" not in mails.mails[0].content
    assert len({mail.message["Message-ID"] for mail in mails.mails}) == 2


@pytest.mark.parametrize(
    ("minor", "currency", "amount"),
    [(123450, "EUR", "EUR 1,234.50"), (1235, "JPY", "JPY 1,235"), (1235, "KWD", "KWD 1.235")],
)
async def test_an_amount_is_shown_as_its_currency_wants(
    bench: Bench, mails: MailServer, provider: SmsProvider, minor: int, currency: str, amount: str
) -> None:
    await bench.send(payment(amount_minor=minor, currency=currency, sms_to=[ADA]))
    mail = mails.only_mail().message
    shown = [mail["Subject"], *(part.get_content() for part in mail.iter_parts()), provider.posted[0].json["text"]]
    assert [amount in text for text in shown] == [True] * 4
    assert 'href="https://pay.example.com/118?a=1&amp;b=2"' in shown[2]


async def test_a_payment_that_is_overdue_is_told_as_such(bench: Bench, mails: MailServer) -> None:
    due = payment().due_time.ToDatetime(tzinfo=UTC)
    at_its_time = payment()
    at_its_time.offset.SetInParent()
    for payload, late in (
        (payment(), timedelta(0)),
        (payment(), timedelta(days=-1)),
        (at_its_time, timedelta(seconds=1)),
        (at_its_time, timedelta(hours=1)),
    ):
        bench.fence.time = due + late
        await bench.send(payload)
    words = [mail.message["Subject"].partition(":")[0] for mail in mails.mails]
    assert words == ["Overdue", "Reminder", "Reminder", "Overdue"]


async def test_nobody_is_reminded_of_a_booking_that_has_begun(bench: Bench, mails: MailServer) -> None:
    bench.fence.time = booking().booking_time.ToDatetime(tzinfo=UTC)
    in_a_set = booking(set_revision=3)
    in_a_set.offset.seconds = 900
    for payload in (booking(), in_a_set):
        assert await bench.send(payload) == {"skipped": "the booking has begun"}
    assert (mails.mails, bench.fence.asked) == ([], [])
    at_its_time = booking()
    at_its_time.offset.SetInParent()
    assert set(await bench.send(at_its_time)) == {"email"}


async def test_the_users_folder_goes_before_ours_file_by_file(
    bench: Bench, mails: MailServer, provider: SmsProvider, tmp_path: Path
) -> None:
    (tmp_path / "booking_reminder.txt").write_text("{{ shop }}: {{ title }}, {{ start.iso }}")
    (tmp_path / "spa.sms").write_text("Spa! {{ start.local.strftime('%d.%m. %H:%M') }}")
    bench.templates = tmp_path
    payload = booking(sms_to=[ADA])
    payload.template_data.update({"shop": "Kim's", "title": "not this one"})
    await bench.send(payload)
    text, html = _words(mails.only_mail().message)
    assert text.strip() == "Kim's: Haircut with Kim, 2026-12-24T18:00:00+01:00"
    assert "<h1" in html
    payload.template = "spa"
    await bench.send(payload)
    assert provider.posted[1].json["text"] == "Spa! 24.12. 18:00"
    assert "Kim's" in mails.mails[1].message.get_body(("plain",)).get_content()


async def test_a_template_that_is_not_there_fails_at_once(bench: Bench, mails: MailServer) -> None:
    with pytest.raises(DoNotRetry, match=r"none of gone\.subject"):
        await bench.send(booking(template="gone"))
    assert mails.mails == []


async def test_a_set_that_moved_on_is_not_sent(bench: Bench, mails: MailServer, provider: SmsProvider) -> None:
    bench.fence = Gate("the set was moved")
    assert await bench.send(booking(set_revision=7, sms_to=[ADA]), attempt=2) == {"skipped": "the set was moved"}
    assert (mails.mails, provider.posted) == ([], [])
    assert bench.fence.asked == [
        {"queue": "q", "kind": "booking", "set_id": "B-1", "revision": 7, "job_id": "job-1", "attempt": 2}
    ]
    assert await bench.send(payment(set_revision=0)) == {"skipped": "the set was moved"}
    assert bench.fence.asked[1]["kind"] == "payment"


async def test_a_reminder_of_no_set_asks_nobody(bench: Bench, mails: MailServer) -> None:
    bench.fence = Gate("the set was moved")
    await bench.send(booking())
    assert (len(mails.mails), bench.fence.asked) == (1, [])


async def test_a_text_message_that_fails_does_not_send_the_mail_twice(
    bench: Bench, mails: MailServer, provider: SmsProvider
) -> None:
    provider.answers += [Answer(201), Answer(429, {}, {"Retry-After": "40"})]
    payload = booking(sms_to=[ADA, BOB])
    with pytest.raises(RetryLater) as caught:
        await bench.send(payload)
    assert caught.value.delay.total_seconds() == 40

    bench.memory = Remembered([str(caught.value)])
    result = await bench.send(payload, attempt=2)
    assert len(mails.mails) == 1
    assert [posted.json["to"] for posted in provider.posted] == [ADA, BOB, BOB]
    # The provider can tell that it is asked the same thing again.
    assert provider.posted[1].json["id"] == provider.posted[2].json["id"]
    assert provider.posted[0].json["id"] != provider.posted[1].json["id"]
    assert result["email"] == {"accepted": [], "refused": [], "earlier": ["ada@example.com"]}


async def test_a_mail_that_fails_does_not_send_the_text_message_twice(
    bench: Bench, mails: MailServer, provider: SmsProvider
) -> None:
    mails.answers = {"ada@example.com": "451 later"}
    payload = booking(sms_to=[ADA])
    with pytest.raises(NotAllSent, match=r"^sent already to 2 of 2 .*; email, 1 not reached: .*451 later") as caught:
        await bench.send(payload)
    bench.memory, mails.answers = Remembered([str(caught.value)]), {}
    await bench.send(payload, attempt=2)
    assert (len(mails.mails), len(provider.posted)) == (1, 1)


async def test_a_changed_payload_is_another_message_and_all_get_it(
    bench: Bench, mails: MailServer, provider: SmsProvider
) -> None:
    mails.answers = {"ada@example.com": "451 later"}
    with pytest.raises(NotAllSent) as caught:
        await bench.send(booking(sms_to=[ADA]))
    bench.memory, mails.answers = Remembered([str(caught.value)]), {}
    await bench.send(booking(sms_to=[ADA], title="Shave"), attempt=2)
    assert len(provider.posted) == 2


async def test_a_way_out_that_is_not_set_up_fails_the_job_and_the_other_one_is_used(
    bench: Bench, mails: MailServer
) -> None:
    bench.sms = None
    with pytest.raises(DoNotRetry, match=r"^sent already to 1 of 2 .*set sms\.url"):
        await bench.send(booking(sms_to=[ADA]))
    assert len(mails.mails) == 1
    bench.mail = None
    with pytest.raises(DoNotRetry, match=r"^email, 1 not reached: .*set mail\.transport"):
        await bench.send(booking())


@pytest.mark.parametrize(
    ("payload", "said"),
    [
        (booking(time_zone="Mars/Base"), "time_zone"),
        (payment(currency="EURO"), "currency"),
        (payment(payment_url="javascript:alert(1)"), "payment_url"),
    ],
)
async def test_what_was_not_checked_when_scheduled_is_checked_when_sent(
    bench: Bench, mails: MailServer, payload: object, said: str
) -> None:
    with pytest.raises(DoNotRetry, match=said):
        await bench.send(payload)  # type: ignore[arg-type]  # either kind
    assert mails.mails == []


async def test_a_text_that_a_template_makes_too_long_is_not_sent(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "booking_reminder.sms").write_text("{{ title * 10 }}")
    bench.templates = tmp_path
    with pytest.raises(DoNotRetry, match="2,000 characters, at most 1,600"):
        await bench.send(booking(email_to=[], sms_to=[ADA], title="x" * 200))


async def test_the_three_reminders_of_a_booking_differ_in_words(bench: Bench, mails: MailServer) -> None:
    said = []
    for before in (timedelta(hours=24), timedelta(hours=1), timedelta(minutes=15)):
        bench.fence.time = datetime(2026, 12, 24, 17, tzinfo=UTC) - before
        await bench.send(booking(offset=before))
        mail = mails.mails[-1].message
        said.append(mail["Subject"])
        text, html = _words(mail)
        word = mail["Subject"].partition(":")[0]
        assert f"Haircut with Kim, {word[0].lower()}{word[1:]}" in text
        assert f"Your booking is {word[0].lower()}{word[1:]}" in html
    assert said == [
        f"{word}: Haircut with Kim, Thu 24 Dec 2026, 18:00" for word in ("Tomorrow", "In 1 hour", "In 15 minutes")
    ]


async def test_a_reminder_carries_the_senders_name_and_colour(bench: Bench, mails: MailServer) -> None:
    await bench.send(booking(booking_url="https://shop.example.com/b/1?a=1&b=2"))
    text, html = _words(mails.mails[-1].message)
    assert ">Shop<" in html
    assert "Shop" in text
    assert 'href="https://shop.example.com/b/1?a=1&amp;b=2"' in html
    assert "https://shop.example.com/b/1?a=1&b=2" in text
    bench.name, bench.colour = "Salon <Kim>", "#ffee00"
    await bench.send(payment())
    _, html = _words(mails.mails[-1].message)
    assert "Salon &lt;Kim&gt;" in html
    assert "background-color:#ffee00;color:#000000" in html


async def test_a_booking_comes_with_a_file_for_calendars(bench: Bench, mails: MailServer) -> None:
    await bench.send(booking(title="Haircut; with Kim, twice", set_revision=3))
    files = list(mails.mails[-1].message.iter_attachments())
    assert [(file.get_filename(), file.get_content_type()) for file in files] == [("booking.ics", "text/calendar")]
    lines = files[0].get_payload(decode=True).decode().split("\r\n")
    for line in (
        "DTSTART:20261224T170000Z",
        "SUMMARY:Haircut\\; with Kim\\, twice",
        "LOCATION:Lange Straße 12",
        "SEQUENCE:3",
    ):
        assert line in lines
    await bench.send(payment())
    assert list(mails.mails[-1].message.iter_attachments()) == []


async def test_calendars_know_a_booking_by_its_sender_queue_and_id(bench: Bench, mails: MailServer) -> None:
    for revision, booking_id, queue in (
        (1, "B-1", "default"),
        (2, "B-1", "default"),
        (1, "B-2", "default"),
        (1, "B-1", "salon"),
    ):
        await bench.send(booking(booking_id=booking_id, set_revision=revision), queue=queue)
    uids = []
    for mail in mails.mails:
        [file] = mail.message.iter_attachments()
        uids += [line for line in file.get_payload(decode=True).decode().split("\r\n") if line.startswith("UID:")]
    assert uids[0] == uids[1]
    assert len(set(uids)) == 3
    assert all(uid.endswith("@example.com") for uid in uids)


def _words(mail: EmailMessage) -> tuple[str, str]:
    """Text and HTML, whatever stands beside them."""
    return mail.get_body(("plain",)).get_content(), mail.get_body(("html",)).get_content()
