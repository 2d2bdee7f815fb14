"""One letter to several people, each of whom gets a mail of their own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from tocsin.worker.context import JobContext

from tocsin_server.handlers.mail.mailer import Mailer
from tocsin_server.handlers.mail.message import Letter, Stamp


@dataclass(frozen=True, slots=True)
class MailChannel:
    """A mail, on its way to several addresses; nobody sees who else gets it."""

    mailer: Mailer
    job: JobContext
    addresses: Sequence[str]
    subject: str
    text: str = field(repr=False)
    html: str = field(repr=False)
    name: str = "email"

    @property
    def missing(self) -> str:
        """Why nothing can be sent."""
        return self.mailer.missing_sender

    async def send(self, place: int) -> Mapping[str, object]:
        """Send it to one address; its Message-ID. MailRefused, MailDeferred."""
        job = self.job
        stamp = Stamp(job.queue, job.job_id, job.create_time, job.attempt, datetime.now(UTC), place + 1)
        letter = Letter("", [self.addresses[place]], self.subject, self.text, self.html)
        return {"message_id": (await self.mailer.send(lambda: letter, stamp)).message_id}
