"""Why something was not sent, and whether sending it again may help."""

from __future__ import annotations

from datetime import timedelta


class NotSent(Exception):
    """The root. Messages hold no credentials and nothing of the text that was to be sent."""


class Refused(NotSent):
    """This will never be taken as it is: sending it again would be in vain."""


class Deferred(NotSent):
    """It was not taken this time: it may be later, unchanged.

    retry_in: when the other side asks to be tried again; None: it did not say. everyone: nobody else can be reached
    the same way now either.
    """

    def __init__(self, message: str, *, retry_in: timedelta | None = None, everyone: bool = False) -> None:
        super().__init__(message)
        self.retry_in = retry_in
        self.everyone = everyone


class NotAllSent(NotSent):
    """Some are still to be reached; the next attempt leaves out those who were."""
