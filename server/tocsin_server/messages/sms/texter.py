"""The one way out for text messages, for all job types that send any."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from urllib.parse import urlsplit

from tocsin_server.domain.formats import is_e164
from tocsin_server.messages.errors import Refused
from tocsin_server.messages.renewed import Renewed
from tocsin_server.messages.rules import TextRules, refuse
from tocsin_server.messages.sms.length import length_of
from tocsin_server.messages.sms.transport import Message, SmsTransport
from tocsin_server.messages.sms.url import open_transport
from tocsin_server.messages.stamp import SendingAttempt, Stamp
from tocsin_server.settings import SmsSettings

#: What Twilio takes, and others with it: some ten segments.
TEXT_CHARACTERS = 1_600

_TIMEOUT = timedelta(seconds=30)  # longest wait for a provider, from connecting to its whole answer

_NO_TRANSPORT = "no text message can be sent: set sms.url to the address of a provider"
_NONE_SET = "no sender is set: set sms.sender to the number or name that text messages come from"
_NO_SENDER = "the message names no sender: give it `from`, or set sms.sender"
_LOCAL = ("localhost", "127.0.0.1", "::1")


class Texter:
    """Makes channels of texts.

    MessageSettingsError from the constructor where a setting cannot be used. One that is missing is no error: `missing`
    says it, and what needs it is refused.
    """

    def __init__(self, settings: SmsSettings, *, timeout: timedelta = _TIMEOUT) -> None:
        secret = settings.url
        url = secret.get_secret_value() if secret else ""
        self._opened: Renewed[SmsTransport] | None = None
        if secret is not None and url:
            self._opened = Renewed(
                lambda: open_transport(secret.get_secret_value(), settings, timeout), secret, settings.password
            )
        self.rules = TextRules.of(settings)
        self._sender = settings.sender or ""
        self._in_clear = bool(settings.password) and _in_clear(url)

    @property
    def _transport(self) -> SmsTransport | None:
        return None if self._opened is None else self._opened.get()

    @property
    def missing(self) -> str:
        """Why no text message can be sent as the server is set up; "" where it can."""
        return "" if self._transport else _NO_TRANSPORT

    @property
    def missing_sender(self) -> str:
        """Why no text message that names no sender itself can be sent; "" where it can."""
        transport = self._transport
        needed = transport is not None and transport.needs_sender
        return self.missing or (_NONE_SET if needed and not self._sender else "")

    @property
    def warning(self) -> str:
        """What is worth knowing of the settings, "" for nothing."""
        return "sms.url is http, not https: sms.password goes over the network in clear text" if self._in_clear else ""

    def channel(self, job: SendingAttempt, text: str, to: Sequence[str], sender: str = "") -> SmsChannel:
        """One text for several numbers. Refused where it is empty or too long."""
        if not text.strip():
            raise Refused("the text message is empty")
        if len(text) > TEXT_CHARACTERS:
            raise Refused(f"the text message has {len(text):,} characters, at most {TEXT_CHARACTERS:,} are taken")
        return SmsChannel(self._transport, job, text, to, sender or self._sender, self.rules)


class SmsChannel:
    """A text, on its way to several numbers."""

    name = "sms"

    def __init__(
        self,
        transport: SmsTransport | None,
        job: SendingAttempt,
        text: str,
        to: Sequence[str],
        sender: str,
        rules: TextRules,
    ) -> None:
        self._rules = rules
        self._transport = transport
        self._job = job
        self._text = text
        self._sender = sender
        self.addresses = to
        # The attempt is left out: a provider that gets a message again shall know it by its id.
        self._mark = Stamp.of(job, job.create_time).job_mark

    @property
    def missing(self) -> str:
        """Why nothing can be sent."""
        if self._transport is None:
            return _NO_TRANSPORT
        return _NO_SENDER if self._transport.needs_sender and not self._sender else ""

    @property
    def measured(self) -> dict[str, object]:
        """Encoding, length and segments, for the job's result."""
        length = length_of(self._text)
        return {"encoding": length.encoding, "length": length.units, "segments": length.segments}

    async def send(self, place: int) -> Mapping[str, object]:
        """Send it to one number; what the provider calls it, if it said. Refused, Deferred."""
        if self._transport is None:
            raise Refused(_NO_TRANSPORT)
        number = self.addresses[place]
        if not is_e164(number):
            raise Refused("it is no number in E.164 form such as +4915112345678")
        rules = self._rules
        refuse([("from", rules.against_sender(self._sender)), ("the number", rules.against_number(number))])
        rules.hourly.take(1)
        job = self._job
        message = Message(
            f"{self._mark}.{place + 1}", number, self._sender, self._text, job.queue, job.job_id, job.attempt
        )
        name = await self._transport.send(message)
        return {"id": name} if name else {}


def _in_clear(url: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme == "http" and parts.hostname not in _LOCAL
