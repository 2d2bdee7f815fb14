"""Media types of files that are sent along."""

from __future__ import annotations

import re

_NAME = r"[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}"  # RFC 6838
_MEDIA_TYPE = re.compile(rf"(?!multipart/|message/){_NAME}/{_NAME}(; ?{_NAME}={_NAME})?\Z", re.IGNORECASE)


def is_media_type(text: str) -> bool:
    """Whether it is one such as "application/pdf" or "text/csv; charset=utf-8".

    "multipart/..." and "message/..." are mails or parts of mails: a file of such a type would be read as one.
    """
    return _MEDIA_TYPE.match(text) is not None
