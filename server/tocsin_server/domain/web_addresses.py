"""Web addresses that may be put into a message to people."""

from __future__ import annotations

from urllib.parse import urlsplit

#: What ends an address in a text, or an attribute in a page.
_NOT_IN_ONE = frozenset("\"<>\\^`{|} '")


def is_https(text: str) -> bool:
    """Whether it is an https:// address: with a host, without user and password, in printable ASCII.

    A user before the host ("https://bank.example@evil.example") is there to deceive.
    """
    if not text.startswith("https://") or not text.isascii() or not text.isprintable() or _NOT_IN_ONE & set(text):
        return False
    try:
        parts = urlsplit(text)
        return bool(parts.hostname) and parts.username is None and parts.port != 0
    except ValueError:  # no port; half an IPv6 address
        return False
