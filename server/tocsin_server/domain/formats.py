"""Texts of a fixed form that payloads may hold: media types, telephone numbers, web addresses."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

_NAME = r"[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}"  # RFC 6838
_MEDIA_TYPE = re.compile(rf"(?!multipart/|message/){_NAME}/{_NAME}(; ?{_NAME}={_NAME})?\Z", re.IGNORECASE)

# ITU-T E.164: 15 digits at most, and no country's code begins with 0. The shortest in use have 7.
_E164 = re.compile(r"\+[1-9][0-9]{6,14}\Z")

#: What ends an address in a text, or an attribute in a page.
_NOT_IN_ONE = frozenset("\"<>\\^`{|} '")


def is_media_type(text: str) -> bool:
    """Whether it is one such as "application/pdf" or "text/csv; charset=utf-8".

    "multipart/..." and "message/..." are mails or parts of mails: a file of such a type would be read as one.
    """
    return _MEDIA_TYPE.match(text) is not None


def is_e164(text: str) -> bool:
    """Whether it is a number such as "+4915112345678"."""
    return _E164.match(text) is not None


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
