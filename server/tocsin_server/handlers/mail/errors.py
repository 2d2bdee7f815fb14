"""Why a mail was not sent, and whether sending it again may help."""

from __future__ import annotations


class MailNotSent(Exception):
    """The root. Messages hold no credentials and nothing of the mail's text."""


class MailRefused(MailNotSent):
    """This mail will never be taken as it is: sending it again would be in vain."""


class MailDeferred(MailNotSent):
    """Nobody got it this time: it may work later, with the same mail."""
