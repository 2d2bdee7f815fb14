"""Which attempt of which job a message is sent by: what its id is made of."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


class SendingAttempt(Protocol):
    """One attempt of a job. What the worker gives to handlers is one."""

    @property
    def queue(self) -> str:
        """Queue the job stands in."""

    @property
    def job_id(self) -> str:
        """The job's name, unique within its queue."""

    @property
    def create_time(self) -> datetime:
        """Tells apart the jobs that have had this id one after another."""

    @property
    def attempt(self) -> int:
        """Which run of the job this is, from 1."""


@dataclass(frozen=True, slots=True)
class Stamp:
    """Which attempt of which job sends it, and when. Makes the Message-ID: another one for each attempt and part."""

    queue: str
    job_id: str
    create_time: datetime
    attempt: int
    send_time: datetime
    part: int = 0  # where one attempt sends several mails: which of them, from 1

    @classmethod
    def of(cls, job: SendingAttempt, send_time: datetime, part: int = 0) -> Stamp:
        """The stamp of what this attempt sends at that time."""
        return cls(job.queue, job.job_id, job.create_time, job.attempt, send_time, part)

    @property
    def job_mark(self) -> str:
        """The job in 32 hexadecimal digits: an id may hold any letter, a Message-ID may not."""
        named = "\0".join((self.queue, self.job_id, self.create_time.isoformat()))
        return hashlib.sha256(named.encode()).hexdigest()[:32]

    @property
    def mark(self) -> str:
        """The job and the number of its attempt, so that a second run is known by what it has in common."""
        return f"{self.job_mark}.{self.attempt}" + (f".{self.part}" if self.part else "")
