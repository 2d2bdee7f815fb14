"""A mail as it goes over the wire, with headers that cannot be injected."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from email.utils import format_datetime
from enum import Enum

from tocsin_server.messages.errors import Refused
from tocsin_server.messages.mail.addresses import BadAddress, MailAddress, has_control, parse_address
from tocsin_server.messages.mail.body import Attachment, body
from tocsin_server.messages.mail.headers import address_header, fixed_header, header
from tocsin_server.messages.stamp import Stamp

SUBJECT_CHARACTERS = 998  # RFC 5322: a line without its end


class Priority(Enum):
    """How urgent mail programs show it: X-Priority and Importance, as Outlook, Thunderbird and Apple Mail read them."""

    LOW = ("5", "low")
    NORMAL = ("3", "normal")
    HIGH = ("1", "high")


@dataclass(frozen=True, slots=True)
class Letter:
    """What is to be said, to whom. Addresses as users write them, parsed when the mail is composed."""

    sender: str
    to: Sequence[str]
    subject: str
    text: str  # "": none
    html: str  # "": none
    cc: Sequence[str] = ()
    bcc: Sequence[str] = ()
    reply_to: str = ""
    attachments: Sequence[Attachment] = ()
    priority: Priority | None = None  # None: no header


@dataclass(frozen=True, slots=True)
class Mail:
    """Ready to be handed over."""

    message_id: str
    mark: str  # Stamp.mark
    send_time: datetime
    sender: str  # envelope
    recipients: tuple[str, ...]  # envelope: to, cc and bcc, each once
    content: bytes = field(repr=False)
    smtputf8: bool  # an address has letters beyond ASCII before its @


def compose(letter: Letter, stamp: Stamp) -> Mail:
    """The mail of this letter. Refused where an address or the subject is wrong, or there is nothing to say."""
    sender = _mailbox("from", letter.sender)
    to, cc, bcc = (
        [_mailbox(name, text) for text in texts]
        for name, texts in (("to", letter.to), ("cc", letter.cc), ("bcc", letter.bcc))
    )
    reply_to = [_mailbox("reply_to", letter.reply_to)] if letter.reply_to else []
    if not to:
        raise Refused("to: there is no recipient")
    if has_control(letter.subject):
        raise Refused("subject: it has a line break or another control character")
    if len(letter.subject) > SUBJECT_CHARACTERS:
        raise Refused(f"subject: it is longer than {SUBJECT_CHARACTERS} characters")

    message_id = f"<{stamp.mark}@{sender.domain}>"
    headers = [
        fixed_header("Date", format_datetime(stamp.send_time)),
        fixed_header("Message-ID", message_id),
        address_header("From", [sender]),
        address_header("To", to),
        *([address_header("Cc", cc)] if cc else ()),
        *([address_header("Reply-To", reply_to)] if reply_to else ()),
        header("Subject", letter.subject),
        fixed_header("Auto-Submitted", "auto-generated"),  # RFC 3834: no absence notes in answer, please
    ]
    if letter.priority is not None:
        number, word = letter.priority.value
        headers += [fixed_header("X-Priority", number), fixed_header("Importance", word)]
    return Mail(
        message_id=message_id,
        mark=stamp.mark,
        send_time=stamp.send_time,
        sender=sender.address,
        recipients=tuple(dict.fromkeys(mailbox.address for mailbox in (*to, *cc, *bcc))),
        content=b"".join(headers) + body(letter.text, letter.html, letter.attachments),
        smtputf8=any(mailbox.needs_smtputf8 for mailbox in (sender, *to, *cc, *bcc, *reply_to)),
    )


def _mailbox(field_name: str, text: str) -> MailAddress:
    try:
        return parse_address(text)
    except BadAddress as error:
        raise Refused(f"{field_name}: an address {error}") from None
