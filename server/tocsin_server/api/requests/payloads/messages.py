"""Rules on payloads that are sent to people as they are: email_notification and sms_notification."""

from __future__ import annotations

from tocsin.v1 import payloads_pb2

from tocsin_server.api.requests.payloads.recipients import check_address, check_addresses, check_numbers, check_template
from tocsin_server.api.requests.violations import Violations
from tocsin_server.domain.formats import is_media_type
from tocsin_server.domain.text_direction import turns
from tocsin_server.messages.mail.addresses import has_control

_SUBJECT_CHARACTERS = 998
_MOST_ATTACHMENTS = 20
_FILENAME_CHARACTERS = 255
_ENDS_LINE = frozenset("\u2028\u2029")  # beside the control characters
_PRIORITIES = {int(number): name for name, number in payloads_pb2.EmailNotification.Priority.items()}
_SMS_CHARACTERS = 1_600
_SENDER_CHARACTERS = 100


def check_email_notification(wrong: Violations, path: str, mail: payloads_pb2.EmailNotification) -> None:
    """A mail."""
    check_addresses(wrong, f"{path}.to", mail.to, least=1)
    check_addresses(wrong, f"{path}.cc", mail.cc)
    check_addresses(wrong, f"{path}.bcc", mail.bcc)
    sender: str = getattr(mail, "from")  # a keyword of Python
    if sender:
        check_address(wrong, f"{path}.from", sender)
    if mail.reply_to:
        check_address(wrong, f"{path}.reply_to", mail.reply_to)
    if len(mail.subject) > _SUBJECT_CHARACTERS:
        wrong.add(f"{path}.subject", f"has {len(mail.subject):,} characters, at most {_SUBJECT_CHARACTERS} are allowed")
    if has_control(mail.subject):
        wrong.add(f"{path}.subject", "has a line break or another control character")
    check_template(wrong, f"{path}.template", mail.template)
    wrong.enum(f"{path}.priority", mail.priority, _PRIORITIES)
    if wrong.count(f"{path}.attachments", mail.attachments, _MOST_ATTACHMENTS):
        for i, attachment in enumerate(mail.attachments):
            _check_attachment(wrong, f"{path}.attachments[{i}]", attachment)
    if not (mail.text or mail.html or mail.template):
        wrong.add(path, "needs at least one of text, html and template")


def _check_attachment(wrong: Violations, path: str, attachment: payloads_pb2.EmailNotification.Attachment) -> None:
    name = attachment.filename
    wrong.characters(f"{path}.filename", name, _FILENAME_CHARACTERS)
    if not name.strip(" ."):
        wrong.add(f"{path}.filename", "is needed")
    elif "/" in name or "\\" in name:
        wrong.add(f"{path}.filename", "names a folder: give the name alone")
    elif turns(name) or _ENDS_LINE & set(name):
        wrong.add(f"{path}.filename", "has a character that ends a line or turns the direction of what follows")
    if attachment.content_type and not is_media_type(attachment.content_type):
        wrong.add(f"{path}.content_type", "is no media type of a file, such as application/pdf")


def check_sms_notification(wrong: Violations, path: str, sms: payloads_pb2.SmsNotification) -> None:
    """A text message."""
    check_numbers(wrong, f"{path}.to", sms.to, least=1)
    if not sms.text.strip():
        wrong.add(f"{path}.text", "is needed")
    elif len(sms.text) > _SMS_CHARACTERS:
        wrong.add(f"{path}.text", f"has {len(sms.text):,} characters, at most {_SMS_CHARACTERS:,} are allowed")
    wrong.characters(f"{path}.from", getattr(sms, "from"), _SENDER_CHARACTERS)
