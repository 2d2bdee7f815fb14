"""What every way of sending text messages does alike."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Message:
    """One text message to one number."""

    message_id: str  # the same in every attempt, so that whoever gets it twice can know
    to: str  # E.164
    sender: str  # "": none
    text: str = field(repr=False)
    queue: str
    job_id: str
    attempt: int


class SmsTransport(ABC):
    """Hands text messages over. Holds no connection and no event loop: calls may come from several loops at once."""

    @property
    @abstractmethod
    def needs_sender(self) -> bool:
        """Whether a message without a sender would be refused."""

    @abstractmethod
    async def send(self, message: Message) -> str:
        """Hand it over. Returns what the provider calls it, "" where it did not say.

        Raises Refused where this message will never be taken, Deferred where a later attempt may succeed. A
        provider may have taken it all the same when its answer did not come: then a later attempt sends it twice.
        """
