"""Why a request was not made, or has no answer."""

from __future__ import annotations


class NotSent(Exception):
    """No answer came. The next attempt may have one, unless `final`."""

    final = False


class AddressRefused(NotSent):
    """The address is one that requests must not go to."""

    final = True


class NameUnknown(NotSent):
    """The host's name leads nowhere, for now."""


class Unreachable(NotSent):
    """Nobody takes the connection, or it broke off."""


class NoAnswer(NotSent):
    """The answer did not come in time."""
