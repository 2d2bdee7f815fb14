"""What whoever runs the server lets nobody put into a job: mail and text messages to some and from some, and more bytes
than so many. It holds wherever callers bring payloads: in jobs, updates of jobs, schedules and sets of reminders. Rules
on messages are applied again where those are sent."""

from __future__ import annotations

from collections.abc import Iterable

from tocsin.v1 import payloads_pb2

from tocsin_server.api.requests.payloads.reading import read
from tocsin_server.api.requests.violations import Violations
from tocsin_server.api.wire import PAYLOAD_FIELDS
from tocsin_server.domain.defaults import JobRequest
from tocsin_server.domain.errors import TooLarge
from tocsin_server.domain.job import Payload
from tocsin_server.messages.mail.addresses import parse_address
from tocsin_server.messages.rules import MailRules, TextRules

_SENT = frozenset({"email_notification", "sms_notification", "booking_reminder", "payment_reminder"})


class PayloadRules:
    """Refuses jobs that would write to whom they may not, or in a name that they may not, and those that are too large
    for this server. `most_bytes`: of a payload, None: as many as a job may have."""

    def __init__(self, mail: MailRules, text: TextRules, most_bytes: int | None = None) -> None:
        self._mail, self._text = mail, text
        self._most_bytes = most_bytes
        self._of_messages = bool(mail.senders or mail.domains or text.senders or text.prefixes)
        #: Whether anything is refused at all.
        self.any = self._of_messages or most_bytes is not None

    def checked(self, job: JobRequest) -> JobRequest:
        """The job. InvalidFields, which names the rule; TooLarge."""
        path, at = "job", job
        self.check_payload(path, at.payload)
        while at.on_end is not None:
            path, at = f"{path}.on_end", at.on_end
            self.check_payload(path, at.payload)
        return job

    def check_payload(self, path: str, payload: Payload | None) -> None:
        """The same of a job's payload; `path` is the job's."""
        if not self.any or payload is None:
            return
        name = PAYLOAD_FIELDS[payload.kind]
        self._check_size(f"{path}.{name}", len(payload.body))
        if not self._of_messages or name not in _SENT:
            return
        wrong = Violations()
        self._check(wrong, f"{path}.{name}", read(payload.kind, payload.body))
        wrong.done()

    def check_reminder(self, path: str, reminder: payloads_pb2.BookingReminder | payloads_pb2.PaymentReminder) -> None:
        """The same of a reminder that jobs are made of."""
        self._check_size(path, reminder.ByteSize())
        if self._of_messages:
            wrong = Violations()
            self._check(wrong, path, reminder)
            wrong.done()

    def _check_size(self, path: str, size: int) -> None:
        if self._most_bytes is not None and size > self._most_bytes:
            raise TooLarge(path, size, self._most_bytes)

    def _check(self, wrong: Violations, path: str, message: object) -> None:
        if isinstance(message, payloads_pb2.EmailNotification):
            for field in ("to", "cc", "bcc"):
                self._recipients(wrong, f"{path}.{field}", getattr(message, field))
            sender = getattr(message, "from")  # a word of Python
            if sender and (why := self._mail.against_sender(parse_address(sender))):
                wrong.add(f"{path}.from", why)
        elif isinstance(message, payloads_pb2.SmsNotification):
            self._numbers(wrong, f"{path}.to", message.to)
            sender = getattr(message, "from")
            if sender and (why := self._text.against_sender(sender)):
                wrong.add(f"{path}.from", why)
        elif isinstance(message, payloads_pb2.BookingReminder | payloads_pb2.PaymentReminder):
            self._recipients(wrong, f"{path}.email_to", message.email_to)
            self._numbers(wrong, f"{path}.sms_to", message.sms_to)

    def _recipients(self, wrong: Violations, path: str, addresses: Iterable[str]) -> None:
        for i, address in enumerate(addresses):
            if why := self._mail.against_recipient(parse_address(address)):
                wrong.add(f"{path}[{i}]", why)

    def _numbers(self, wrong: Violations, path: str, numbers: Iterable[str]) -> None:
        for i, number in enumerate(numbers):
            if why := self._text.against_number(number):
                wrong.add(f"{path}[{i}]", why)


#: Everything may be brought and sent.
NO_RULES = PayloadRules(MailRules(), TextRules())
