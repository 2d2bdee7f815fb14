"""What the server was told about outgoing mail."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path


class MailSettingsError(ValueError):
    """A setting cannot be used. The message names the setting, says what to mend, and holds no secret."""


@dataclass(frozen=True, slots=True)
class MailSettings:
    """How mail leaves the server. None: was not set."""

    transport_url: str | None = field(default=None, repr=False)  # smtp, smtps or file; may hold a password
    sender: str | None = None  # "Shop <shop@example.com>", for mails that name no sender
    templates: Path | None = None  # folder of the templates
    timeout: timedelta = timedelta(seconds=30)  # longest wait for one answer of the mail server
