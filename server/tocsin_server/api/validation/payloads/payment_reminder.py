"""Rules on a payload payment_reminder."""

from __future__ import annotations

from tocsin.v1 import payloads_pb2

from tocsin_server.api.validation.payloads.reminders import check_id, check_reminder
from tocsin_server.api.validation.violations import Violations
from tocsin_server.domain import limits
from tocsin_server.domain.currencies import DECIMALS
from tocsin_server.domain.formats import is_https

_URL_CHARACTERS = 2_000


def check_payment_reminder(wrong: Violations, path: str, payment: payloads_pb2.PaymentReminder) -> None:
    """A reminder of a payment."""
    check_id(wrong, f"{path}.payment_id", payment.payment_id)
    if payment.HasField("due_time"):
        wrong.time(f"{path}.due_time", payment.due_time)
    else:
        wrong.add(f"{path}.due_time", "is needed")
    if payment.amount_minor < 1:
        wrong.add(f"{path}.amount_minor", f"is {payment.amount_minor:,}, not 1 or more of the currency's smallest unit")
    if payment.currency not in DECIMALS:
        wrong.add(f"{path}.currency", "is no current ISO 4217 code such as EUR" if payment.currency else "is needed")
    if payment.HasField("offset"):
        wrong.span(f"{path}.offset", payment.offset, -limits.MAX_DELAY, limits.MAX_DELAY, "up to 100 years")
    url = payment.payment_url
    if len(url) > _URL_CHARACTERS:
        wrong.add(f"{path}.payment_url", f"has {len(url):,} characters, at most {_URL_CHARACTERS:,} are allowed")
    elif url and not is_https(url):
        wrong.add(f"{path}.payment_url", "is no https:// address, with a host and without user and password")
    check_reminder(wrong, path, payment)
