"""Serves the jobs of either kind of reminder."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Generic, TypeVar

from google.protobuf.message import Message
from tocsin.worker.context import JobContext
from tocsin.worker.errors import DoNotRetry
from tocsin.worker.registry import Handlers

from tocsin_server.handlers.reminders.reminder import Reminder
from tocsin_server.handlers.reminders.sending import ReminderSender

P = TypeVar("P", bound=Message)


class ReminderHandler(Generic[P]):
    """Sends the reminders of the jobs of a type. `read` makes one of their payload, to be sent at that time; it may
    raise DoNotRetry."""

    def __init__(
        self, type_: str, payload: type[P], read: Callable[[P, datetime], Reminder], sender: ReminderSender
    ) -> None:
        self._type = type_
        self._payload = payload
        self._read = read
        self._sender = sender

    def register(self, handlers: Handlers) -> None:
        """Make these handlers serve the type."""
        handlers.on(self._type)(self.send)

    async def send(self, job: JobContext) -> dict[str, object]:
        """Send the job's reminder. Returns and raises as ReminderSender.send."""
        payload = job.payload
        if not isinstance(payload, self._payload):
            raise DoNotRetry(f"a job of type {self._type} needs the payload {self._type}")
        now = await self._sender.now()
        return await self._sender.send(job, self._read(payload, now), now)
