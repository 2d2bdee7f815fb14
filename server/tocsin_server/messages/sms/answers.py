"""What a provider's answer means for the message: taken, refused, or to be tried again, and when."""

from __future__ import annotations

import base64
import json
from collections.abc import Collection
from datetime import UTC, datetime

from tocsin_server.domain.http_requests import wait_of
from tocsin_server.messages.errors import Deferred, Refused
from tocsin_server.messages.sms.forms import Form

_SAID_CHARACTERS = 200
_LOGIN_REFUSED = (401, 403)
# Beside 5xx: the provider had no time, or will have more.
_REQUEST_TIMEOUT, _TOO_EARLY, _TOO_MANY = 408, 425, 429


def name_in(answer: bytes, form: Form) -> str:
    """What a provider that took the message calls it, "" where it did not say."""
    return form.name_of(_read(answer))


def trouble(
    where: str, status: int, retry_after: str | None, answer: bytes, form: Form, secrets: Collection[str]
) -> Refused | Deferred:
    """Why a message was not taken, by an answer that is not 2xx. `where` is the provider's host and port."""
    if status in _LOGIN_REFUSED:
        # The provider's words are left out: an answer may repeat what it was sent.
        return Refused(f"{where} refused sms.user, sms.password or the sender ({status})")
    if 300 <= status < 400:
        return Refused(f"{where} answers {status} and sends us elsewhere: mend sms.url")
    said = _hidden(" ".join(form.fault_of(_read(answer)).split()), secrets)[:_SAID_CHARACTERS]
    message = f"{where} answers {status}" + (f", {said}" if said else "")
    if status >= 500 or status in (_REQUEST_TIMEOUT, _TOO_EARLY, _TOO_MANY):
        # Too many is said of all that we send, an error of the server mostly is.
        return Deferred(message, retry_in=wait_of(retry_after, datetime.now(UTC)), everyone=True)
    return Refused(message)


def _read(answer: bytes) -> object:
    try:
        return json.loads(answer)
    except (ValueError, RecursionError):
        return None


def _hidden(text: str, secrets: Collection[str]) -> str:
    for secret in secrets:
        text = text.replace(secret, "***")
    return text


def secrets_of(user: str | None, password: str | None) -> tuple[str, ...]:
    """What must not be repeated: the password, and user and password as they travel."""
    if not password:
        return ()
    return password, base64.b64encode(f"{user or ''}:{password}".encode()).decode()
