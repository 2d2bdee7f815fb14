"""What the server was told about text messages."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta


class SmsSettingsError(ValueError):
    """A setting cannot be used. The message names the setting, says what to mend, and holds no secret."""


@dataclass(frozen=True, slots=True)
class SmsSettings:
    """How text messages leave the server. None: was not set."""

    url: str | None = field(default=None, repr=False)  # http, https or file; its path and query may hold a secret
    form: str = "twilio"  # or "json"
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    sender: str | None = None  # for messages that name none
    timeout: timedelta = timedelta(seconds=30)  # longest wait for a provider, from connecting to its whole answer
