"""Our templates, filled by somebody who means harm."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tocsin_server.handlers import booking_reminder, payment_reminder
from tocsin_server.handlers.reminders.brand import Brand
from tocsin_server.handlers.reminders.sending import DueReminder
from tocsin_server.messages.errors import Refused
from tocsin_server.messages.mail.addresses import has_control
from tocsin_server.messages.mail.message import Letter, compose
from tocsin_server.messages.stamp import Stamp
from tocsin_server.messages.templates.rendering import MAIL, OURS, SMS, Rendered, Templates
from tocsin_server.settings import MailSettings
from unit.server.handlers.reminders.reminder_builder import NOW, booking, payment

TURNING = re.compile("[\u202a-\u202e\u2066-\u2069]")
TEMPLATES = Templates(OURS)
BRAND = Brand(MailSettings(sender="Shop <shop@example.com>"))
HOSTILE = st.text(
    st.one_of(
        st.sampled_from("{}%#<>&\"'/\\\r\n\t\0\u2028\u202e\u2066=;:ab "), st.characters(exclude_categories=["Cs"])
    ),
    max_size=80,
)


class Frame(HTMLParser):
    """The tags of a page with their attributes, and what of them loads or links to anything."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, tuple[tuple[str, str | None], ...]]] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, tuple(attrs)))


def reminder_of(kind: str, **fields: str) -> DueReminder:
    if kind == "booking":
        return booking_reminder._reminder(booking(**fields), NOW)
    fields.pop("location", None)
    return payment_reminder._reminder(payment(**fields), NOW)


def rendered(reminder: DueReminder) -> Rendered:
    name = f"{reminder.kind}_reminder"
    return TEMPLATES.render(name, {**reminder.data, **BRAND.data}, [*MAIL, SMS], fallback=name)


@pytest.mark.parametrize("kind", ["booking", "payment"])
@given(title=HOSTILE, location=HOSTILE, name=HOSTILE)
@example("<script>alert(1)</script>", "<img src=https://evil.example/x>", "</bdi></table>")
@example("{{ 7 * 7 }}", "{% include 'reminder_layout.html' %}", "{{ self.__class__ }}")
@example("a\r\nBcc: eve@example.com", "\u202egnp.exe", "=?utf-8?q?=0D=0ABcc:eve@example.com?=")
@settings(deadline=None)
def test_hostile_words_are_only_words(kind: str, title: str, location: str, name: str) -> None:
    fields = {"title": title or "x", "location": location or "x", "recipient_name": name or "x"}
    made = rendered(reminder_of(kind, **fields))
    harmless = rendered(reminder_of(kind, title="x", location="x", recipient_name="x"))
    assert made.html is not None
    assert harmless.html is not None
    assert Frame(made.html).tags == Frame(harmless.html).tags
    assert not TURNING.search(f"{made.subject}{made.text}{made.html}{made.sms}")
    assert "49" not in (made.text or "").replace(name, "").replace(title, "").replace(location, "")

    letter = Letter("a@example.com", ["ada@example.com"], made.subject or "", made.text or "", made.html)
    stamp = Stamp("q", "j", NOW, 1, NOW)
    try:
        mail = compose(letter, stamp)
    except Refused:
        assert has_control(letter.subject)  # NUL and its like, which scheduling refuses
        return
    head = mail.content.partition(b"\r\n\r\n")[0].decode()
    assert not re.search(r"^bcc:", head, re.IGNORECASE | re.MULTILINE)
    assert mail.recipients == ("ada@example.com",)


@pytest.mark.parametrize("kind", ["booking", "payment"])
def test_our_pages_load_nothing_from_anywhere(kind: str) -> None:
    html = rendered(reminder_of(kind)).html or ""
    tags = Frame(html).tags
    assert not {"img", "script", "link", "iframe", "object", "form", "base"} & {tag for tag, _ in tags}
    assert "url(" not in html
    assert "@import" not in html
    links = [dict(attributes)["href"] for tag, attributes in tags if tag == "a"]
    assert links == ([] if kind == "booking" else ["https://pay.example.com/118?a=1&b=2"])


def test_data_of_the_same_name_does_not_stand_for_what_is_ours() -> None:
    payload = payment()
    payload.template_data.update({"amount": "EUR 1.00", "payment_url": "javascript:alert(1)", "due": "never"})
    made = rendered(payment_reminder._reminder(payload, NOW))
    assert "EUR 1,234.50" in (made.text or "")
    assert "javascript" not in f"{made.html}{made.text}{made.sms}"


def test_the_largest_words_leave_a_text_message_short_enough() -> None:
    made = rendered(
        reminder_of(
            "booking",
            title="t" * 200,
            location="l" * 500,
            recipient_name="n" * 200,
            booking_url="https://x/" + 1_990 * "u",
        )
    )
    assert len(made.sms or "") <= 1_600
    assert len(made.subject or "") <= 998
