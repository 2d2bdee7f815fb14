"""Why something was not sent, and whether sending it again may help; and which settings nothing can be sent with."""

from __future__ import annotations

from datetime import timedelta


class MessageSettingsError(ValueError):
    """A setting cannot be used. The message names the setting, says what to mend, and holds no secret."""


class MessageError(Exception):
    """The root. Messages hold no credentials and nothing of the text that was to be sent."""


class Refused(MessageError):
    """This will never be taken as it is: sending it again would be in vain."""


class Deferred(MessageError):
    """It was not taken this time: it may be later, unchanged.

    retry_in: when the other side asks to be tried again; None: it did not say. everyone: nobody else can be reached
    the same way now either.
    """

    def __init__(self, message: str, *, retry_in: timedelta | None = None, everyone: bool = False) -> None:
        super().__init__(message)
        self.retry_in = retry_in
        self.everyone = everyone


class NotAllSent(MessageError):
    """Some are still to be reached; the next attempt leaves out those who were.

    retry_in: the longest wait that the other sides asked for; None: none did.
    """

    def __init__(self, message: str, *, retry_in: timedelta | None = None) -> None:
        super().__init__(message)
        self.retry_in = retry_in
