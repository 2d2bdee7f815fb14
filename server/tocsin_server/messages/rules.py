"""Whom this server writes to, and in whose name: rules of whoever runs it, over whatever callers ask for."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from tocsin_server.messages.errors import Deferred, MessageSettingsError, Refused
from tocsin_server.messages.mail.addresses import BadAddress, MailAddress, parse_address
from tocsin_server.settings import MailSettings, SmsSettings

_HOUR = 3_600.0
# Before the @: a relay may read these as the way to another address.
_ROUTES = frozenset("%!")


class Hourly:
    """At most so many in any hour, of this process. Calls may come from several threads."""

    def __init__(self, most: int | None, rule: str) -> None:
        self._most, self._rule = most, rule
        self._taken: deque[tuple[float, int]] = deque()
        self._sum = 0
        self._lock = threading.Lock()

    def take(self, number: int) -> None:
        """So many more. Deferred, with when there is room; Refused where there never is for so many."""
        if self._most is None:
            return
        if number > self._most:
            raise Refused(f"{self._rule}: {number} at once are more than the {self._most:,} of an hour")
        with self._lock:
            now = time.monotonic()
            while self._taken and self._taken[0][0] <= now - _HOUR:
                self._sum -= self._taken.popleft()[1]
            if self._sum + number > self._most:
                raise Deferred(
                    f"{self._rule}: {self._most:,} were sent within an hour, as many as may be",
                    retry_in=timedelta(seconds=self._room_in(number, now)),
                    everyone=True,
                )
            self._taken.append((now, number))
            self._sum += number

    def _room_in(self, number: int, now: float) -> float:
        freed = 0
        for moment, taken in self._taken:
            freed += taken
            if self._most is not None and self._sum - freed + number <= self._most:
                return moment + _HOUR - now
        return _HOUR


@dataclass(frozen=True, slots=True)
class MailRules:
    """Rules on mail. Empty: everything is allowed."""

    senders: frozenset[str] = frozenset()  # addresses, and domains as "@example.com"
    domains: frozenset[str] = frozenset()  # of recipients
    hourly: Hourly = field(default_factory=lambda: Hourly(None, ""))

    @classmethod
    def of(cls, settings: MailSettings) -> MailRules:
        """MessageSettingsError."""
        return cls(
            _with_own(settings.sender, [_sender(text) for text in settings.allowed_senders]),
            frozenset(_domain("mail.allowed_recipient_domains", text) for text in settings.allowed_recipient_domains),
            Hourly(settings.max_recipients_per_hour, "mail.max_recipients_per_hour"),
        )

    def against_sender(self, sender: MailAddress) -> str:
        """Why nothing may be sent in this name; "" where it may."""
        if not self.senders or {sender.address.lower(), f"@{sender.domain.lower()}"} & self.senders:
            return ""
        return "is not among the senders that mail.allowed_senders has"

    def against_recipient(self, recipient: MailAddress) -> str:
        """Why nobody may write there; "" where they may."""
        if not self.domains:
            return ""
        if _ROUTES & set(recipient.local):
            return "names a way to another address before its @, which mail.allowed_recipient_domains does not have"
        domain = recipient.domain.lower()
        if domain in self.domains or any(domain.endswith(f".{one[2:]}") for one in self.domains if one[:2] == "*."):
            return ""
        return "is at a domain that mail.allowed_recipient_domains does not have"


@dataclass(frozen=True, slots=True)
class TextRules:
    """Rules on text messages. Empty: everything is allowed."""

    prefixes: tuple[str, ...] = ()
    senders: frozenset[str] = frozenset()
    hourly: Hourly = field(default_factory=lambda: Hourly(None, ""))

    @classmethod
    def of(cls, settings: SmsSettings) -> TextRules:
        """The rules of the settings."""
        return cls(
            settings.allowed_prefixes,
            frozenset([*settings.allowed_senders, settings.sender or ""] if settings.allowed_senders else ()),
            Hourly(settings.max_per_hour, "sms.max_per_hour"),
        )

    def against_sender(self, sender: str) -> str:
        """Why nothing may be sent in this name; "" where it may."""
        if not self.senders or sender in self.senders:
            return ""
        return "is not among the senders that sms.allowed_senders has"

    def against_number(self, number: str) -> str:
        """Why nobody may write there; "" where they may."""
        if not self.prefixes or number.startswith(self.prefixes):
            return ""
        return "does not begin as any number in sms.allowed_prefixes"


def refuse(reasons: Sequence[tuple[str, str]]) -> None:
    """Refused, with each value's reason; nothing where there are none."""
    said = [f"{name} {why}" for name, why in reasons if why]
    if said:
        raise Refused("; ".join(said))


def _with_own(own: str | None, senders: Sequence[str]) -> frozenset[str]:
    """With some, the server's own sender is one of them."""
    if not senders or own is None:
        return frozenset(senders)
    try:
        return frozenset([*senders, parse_address(own).address.lower()])
    except BadAddress as error:
        raise MessageSettingsError(f"mail.sender: the address {error}") from None


def _sender(text: str) -> str:
    if text.startswith("@"):
        return "@" + _domain("mail.allowed_senders", text[1:])
    try:
        return parse_address(text).address.lower()
    except BadAddress as error:
        raise MessageSettingsError(f"mail.allowed_senders: the address {error}") from None


def _domain(setting: str, text: str) -> str:
    wild = text.startswith("*.")
    try:
        domain = parse_address(f"any@{text.removeprefix('*.')}").domain.lower()
    except BadAddress as error:
        raise MessageSettingsError(f"{setting}: it {error}") from None
    return f"*.{domain}" if wild else domain
