"""Why a request was not made, or has no answer."""

from __future__ import annotations


class Unanswered(Exception):
    """No answer came. The next attempt may have one, unless `final`."""

    final = False


class AddressRefused(Unanswered):
    """The address is one that requests must not go to."""

    final = True


class NameUnknown(Unanswered):
    """The host's name leads nowhere, for now."""


class Unreachable(Unanswered):
    """Nobody takes the connection, or it broke off."""


class NoAnswer(Unanswered):
    """The answer did not come in time."""
