"""What every way of sending mail does alike."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

from tocsin_server.messages.mail.message import Mail


@dataclass(frozen=True, slots=True)
class Delivery:
    """Who will get the mail, as far as the next mail server knows, and who not (address: what the server said)."""

    accepted: tuple[str, ...]
    refused: Mapping[str, str]


class MailTransport(ABC):
    """Hands mails over. Holds no connection and no event loop: calls may come from several loops at once."""

    @abstractmethod
    async def send(self, mail: Mail) -> Delivery:
        """Hand it over to at least one recipient.

        Raises Refused where this mail will never be taken, Deferred where a later attempt may succeed. A mail
        server may have taken a mail all the same when its answer did not come: then a later attempt sends it twice.
        """
