"""Why a mail was not sent, and whether sending it again may help."""

from __future__ import annotations

from tocsin_server.handlers.sending.errors import Deferred, Refused


class MailRefused(Refused):
    """This mail will never be taken as it is."""


class MailDeferred(Deferred):
    """Nobody got it this time: it may work later, with the same mail."""
