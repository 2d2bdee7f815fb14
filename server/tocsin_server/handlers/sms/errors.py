"""Why a text message was not sent, and whether sending it again may help."""

from __future__ import annotations

from tocsin_server.handlers.sending.errors import Deferred, Refused


class SmsRefused(Refused):
    """This message will never be taken as it is."""


class SmsDeferred(Deferred):
    """It was not taken this time: it may be later."""
