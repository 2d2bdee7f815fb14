"""Names of the source as names of this side: kept where they fit, else changed, always in the same way.

A changed name keeps what can be read of it and ends in a digest of all of it, so that no two names fall together and a
second import finds the jobs of the first.
"""

from __future__ import annotations

import hashlib
import re

from tocsin.v1 import job_pb2

from tocsin_server.domain import limits

_NAME = re.compile(r"[A-Za-z0-9._-]{1,100}\Z")
_NO_NAME = re.compile(r"[^A-Za-z0-9._-]+")
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")
_READABLE = 80  # characters
# Hexadecimal digits of the digest. Names are few, and people type them; ids are many.
_OF_NAME, _OF_ID = 8, 16
_SHOWN = 200
#: Of an id, which a report's file has whole: longer ones cannot be looked for by hand.
_WHOLE = 10_000

_PAYLOADS = job_pb2.JobSpec.DESCRIPTOR.oneofs_by_name["payload"].fields
#: Types that Tocsin has handlers of its own for, which take a payload of their own.
BUILT_IN = frozenset(field.name for field in _PAYLOADS) - {"data", "raw"}
_BESIDE_BUILT_IN = {name: f"bull.{name}" for name in BUILT_IN}


def shown(raw: bytes, most: int = _SHOWN) -> str:
    """A name as a person may read it: what is no text, and what shows nothing, as escapes; at most 200 characters."""
    text = raw[: 4 * most + 4].decode(errors="backslashreplace")
    if not text.isprintable():
        text = "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)
    return text if len(text) <= most else text[:most] + "…"


def shown_id(raw: bytes) -> str:
    """An id likewise, whole: at most 10,000 characters."""
    return shown(raw, _WHOLE)


def queue_name(raw: bytes) -> str:
    """The queue that a queue of the source becomes."""
    text = _text(raw)
    return text if text is not None and _NAME.match(text) else _changed(raw, _OF_NAME)


def type_name(raw: bytes) -> str:
    """The type that a job's name becomes. Names of built-in types change, too: their handlers would refuse the data."""
    text = _text(raw)
    if text is None or not _NAME.match(text) or text in _BESIDE_BUILT_IN.values():
        return _changed(raw, _OF_NAME)
    return _BESIDE_BUILT_IN.get(text, text)


def unnamed_type(queue: bytes, *, taken: bool) -> str:
    """The type of a queue's jobs without a name: the queue's. taken: named jobs of the queue have that type."""
    return type_name(queue + b": no name") if taken else type_name(queue)


def job_id(raw: bytes) -> str:
    """The id that a job's id becomes."""
    text = _text(raw)
    if text and len(text) <= limits.JOB_ID_CHARACTERS and len(raw) <= limits.JOB_ID_BYTES and not _CONTROL.search(text):
        return text
    return _changed(raw, _OF_ID)


def _text(raw: bytes) -> str | None:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return None


def _changed(raw: bytes, digits: int) -> str:
    readable = _NO_NAME.sub("-", raw[: 4 * _READABLE].decode(errors="replace"))[:_READABLE].strip("-")
    digest = hashlib.sha256(raw).hexdigest()[:digits]
    return f"{readable}-{digest}" if readable else digest
