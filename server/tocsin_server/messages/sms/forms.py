"""How providers want to be asked: what is posted, and where its name stands in the answer."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol
from urllib.parse import urlencode

from tocsin_server.messages.sms.transport import Message

_MESSAGING_SERVICE = re.compile(r"MG[0-9a-fA-F]{32}\Z")
_ID_CHARACTERS = 200


@dataclass(frozen=True, slots=True)
class Post:
    """What is sent to the provider, beside the credentials."""

    body: bytes = field(repr=False)
    headers: Mapping[str, str]


class Form(Protocol):
    """The language of a provider."""

    needs_sender: bool

    def post(self, message: Message) -> Post:
        """The request that sends a message."""

    def name_of(self, answer: object) -> str:
        """What the provider calls the message, by its answer's JSON; "" where it did not say."""

    def fault_of(self, answer: object) -> str:
        """What the provider says is wrong, by its answer's JSON; "" where it did not say."""


class TwilioForm:
    """The API of Twilio, which many providers offer too: a form is posted to .../Accounts/SID/Messages.json."""

    needs_sender = True

    def post(self, message: Message) -> Post:
        """A sender MG... is a messaging service, any other one a number or a name."""
        sender = "MessagingServiceSid" if _MESSAGING_SERVICE.match(message.sender) else "From"
        fields = {"To": message.to, sender: message.sender, "Body": message.text}
        return Post(urlencode(fields).encode(), {"Content-Type": "application/x-www-form-urlencoded"})

    def name_of(self, answer: object) -> str:
        """Its sid."""
        return _text(answer, "sid")

    def fault_of(self, answer: object) -> str:
        """Its code and message."""
        code, message = _text(answer, "code"), _text(answer, "message")
        return f"error {code}: {message}" if code else message


class JsonForm:
    """A webhook: one JSON object is posted, and any 2xx takes the message."""

    needs_sender = False

    def post(self, message: Message) -> Post:
        """Idempotency-Key is the message's id, as in the body: the same in every attempt."""
        said = {
            "id": message.message_id,
            "to": message.to,
            **({"from": message.sender} if message.sender else {}),
            "text": message.text,
            "queue": message.queue,
            "job_id": message.job_id,
            "attempt": message.attempt,
        }
        headers = {"Content-Type": "application/json", "Idempotency-Key": message.message_id}
        return Post(json.dumps(said, ensure_ascii=False).encode(), headers)

    def name_of(self, answer: object) -> str:
        """Its "id", where it answers with a JSON object that has one."""
        return _text(answer, "id")

    def fault_of(self, answer: object) -> str:
        """Its "error" or "message", where it answers with a JSON object that has one."""
        return _text(answer, "error") or _text(answer, "message")


def _text(answer: object, key: str) -> str:
    value = answer.get(key) if isinstance(answer, dict) else None
    return str(value)[:_ID_CHARACTERS] if isinstance(value, str | int) else ""
