"""Jobs of type sms_notification: a text message to one or more numbers."""

from __future__ import annotations

from tocsin.v1.payloads_pb2 import SmsNotification
from tocsin.worker.context import JobContext
from tocsin.worker.errors import DoNotRetry
from tocsin.worker.registry import Handlers

from tocsin_server.handlers.sender import Sender
from tocsin_server.messages.errors import Refused
from tocsin_server.messages.sms.texter import Texter

TYPE = "sms_notification"


class SmsNotificationHandler:
    """Sends the messages of sms_notification jobs."""

    def __init__(self, texter: Texter, sender: Sender) -> None:
        self._texter = texter
        self._sender = sender

    def register(self, handlers: Handlers) -> None:
        """Make these handlers serve sms_notification."""
        handlers.on(TYPE)(self.send)

    async def send(self, job: JobContext) -> dict[str, object]:
        """Send the job's message to all who have not got it by an earlier attempt.

        Returns {"encoding", "length", "segments", "accepted": [{"address", "id"}], "refused": [{"address", "answer"}]},
        and "earlier": [address] where earlier attempts reached some.
        """
        payload = job.payload
        if not isinstance(payload, SmsNotification):
            raise DoNotRetry(f"a job of type {TYPE} needs the payload {TYPE}")
        try:
            # `from` is a word of Python.
            channel = self._texter.channel(job, payload.text, payload.to, getattr(payload, "from"))
        except Refused as error:
            raise DoNotRetry(str(error)) from None
        results = await self._sender.send(job, payload, [channel]) or {}
        return {**channel.measured, **results[channel.name]}
