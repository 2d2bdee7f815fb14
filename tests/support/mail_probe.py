"""A real SMTP server that notes when each mail began to arrive, and takes its time with it."""

from __future__ import annotations

import asyncio
import random
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email import message_from_bytes
from email.policy import SMTP as SMTP_POLICY

from aiosmtpd.smtp import SMTP, Envelope, Session

from support.smtp_serving import smtp_served


@dataclass(frozen=True, slots=True)
class Arrival:
    """A mail that was taken. `begun` is the moment of its DATA command, by time.monotonic()."""

    subject: str
    job_mark: str  # the first part of its Message-ID
    begun: float


@dataclass  # not slotted, see MailServer
class MailProbe:
    """What arrived. A mail whose connection broke off before its end is none."""

    chance: random.Random
    longest: float
    arrivals: list[Arrival] = field(default_factory=list)
    port: int = 0

    @property
    def url(self) -> str:
        """The mail transport that leads here."""
        return f"smtp://127.0.0.1:{self.port}?starttls=never"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        assert isinstance(server, _Connection)
        assert isinstance(envelope.content, bytes)
        begun = server.begun
        await asyncio.sleep(self.chance.random() * self.longest)
        message = message_from_bytes(envelope.content, policy=SMTP_POLICY)
        mark = re.match(r"<([0-9a-f]+)\.", message["Message-ID"])
        assert mark is not None, message["Message-ID"]
        self.arrivals.append(Arrival(str(message["Subject"]), mark[1], begun))
        return "250 taken"


class _Connection(SMTP):
    begun = 0.0

    async def smtp_DATA(self, arg: str) -> None:
        self.begun = time.monotonic()
        await super().smtp_DATA(arg)


@asynccontextmanager
async def mail_probe(*, seed: int, longest: float = 0.03) -> AsyncIterator[MailProbe]:
    """A server on 127.0.0.1; each mail takes up to `longest` seconds after its last byte."""
    kept = MailProbe(random.Random(seed), longest)

    def connected() -> SMTP:
        return _Connection(kept, hostname="mail.example", loop=asyncio.get_running_loop())

    async with smtp_served(connected) as kept.port:
        yield kept
