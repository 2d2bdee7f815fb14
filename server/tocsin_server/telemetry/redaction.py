"""Secrets stay out of what is written: the one place that knows how they look."""

from __future__ import annotations

import contextlib
import re
from urllib.parse import unquote, urlsplit

HIDDEN = "***"

# The secret parts of an address: the password before the "@", and options whose name speaks of a secret. A user without
# a password ("redis://ada@host") is not hidden, "redis://:s3cret@host" and "redis://ada:s3cret@host" are. A password
# may hold an "@" or a "/" that should have been quoted, so it is taken to reach to the last "@" before white space.
_PASSWORD = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.\-]*://)(?P<user>[^\s:@/?#]*):(?P<password>[^\s\"'<>]*)@")
# MongoDB's authMechanismProperties may hold a session token.
_OPTION = re.compile(
    r"(?P<name>[?&;][^\s=&#]*(?:password|passwd|secret|token|authmechanismproperties)[^\s=&#]*=)"
    r"(?P<value>[^\s&#\"'<>]*)",
    re.IGNORECASE,
)


def redact_url(text: str) -> str:
    """The text with the passwords of all addresses in it hidden; what comes back can be shown and logged."""
    if "://" not in text:
        return text
    hidden = _PASSWORD.sub(rf"\g<scheme>\g<user>:{HIDDEN}@", text)
    return _OPTION.sub(rf"\g<name>{HIDDEN}", hidden)


def secrets_in_url(text: str) -> list[str]:
    """The passwords of an address, as they stand in it and as they are meant, so that they can be hidden elsewhere."""
    found = [match["password"] for match in _PASSWORD.finditer(text)]
    found += [match["value"] for match in _OPTION.finditer(text)]
    with contextlib.suppress(ValueError):
        found.append(urlsplit(text).password or "")  # where an "@" follows in the options, the one above is too long
    return list(dict.fromkeys(secret for quoted in found for secret in (quoted, unquote(quoted)) if secret))
