"""What moves from one store to another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from tocsin_server.domain.job import Job
from tocsin_server.domain.queues import QueueSettings
from tocsin_server.domain.schedules.calendars import KeptCalendar
from tocsin_server.domain.schedules.standing import Schedule
from tocsin_server.store.interface import StoredNote


@dataclass(frozen=True, slots=True)
class QueueRecord:
    """A queue and what is set for it."""

    queue: str
    settings: QueueSettings


@dataclass(frozen=True, slots=True)
class NoteRecord:
    """A note beside a queue's jobs. Its revision is the store's own count, and does not move."""

    queue: str
    note: StoredNote


Record: TypeAlias = QueueRecord | NoteRecord | Job | Schedule | KeptCalendar
