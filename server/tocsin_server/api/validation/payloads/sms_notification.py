"""Rules on a payload sms_notification."""

from __future__ import annotations

from tocsin.v1 import payloads_pb2

from tocsin_server.api.validation.payloads.recipients import check_numbers
from tocsin_server.api.validation.violations import Violations

_SMS_CHARACTERS = 1_600
_SENDER_CHARACTERS = 100


def check_sms_notification(wrong: Violations, path: str, sms: payloads_pb2.SmsNotification) -> None:
    """A text message."""
    check_numbers(wrong, f"{path}.to", sms.to, least=1)
    if not sms.text.strip():
        wrong.add(f"{path}.text", "is needed")
    elif len(sms.text) > _SMS_CHARACTERS:
        wrong.add(f"{path}.text", f"has {len(sms.text):,} characters, at most {_SMS_CHARACTERS:,} are allowed")
    wrong.characters(f"{path}.from", getattr(sms, "from"), _SENDER_CHARACTERS)
