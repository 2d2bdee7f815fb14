"""Ids: of a document as a person would look for it, and of the job that it becomes. The same in every run."""

from __future__ import annotations

import hashlib
import re

import bson
from bson.errors import BSONError
from bson.objectid import ObjectId

from tocsin_server.domain import limits

#: Begins the ids that are made of a digest.
MADE = "agenda-"

_OF_OBJECT_ID = re.compile(r"[0-9a-f]{24}\Z")
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")
_SHOWN = 10_000  # whole, but for ids that nobody can look for by hand
_OBJECT_ID_FIRST = b"\x07_id\x00"  # how a document begins, after its length: an ObjectId called _id


def job_id_of(source: object) -> str:
    """The job's id: the 24 hex digits of an ObjectId; a string as it is, where it can be an id here and is like none
    of the others; of anything else a digest."""
    if isinstance(source, ObjectId):
        return str(source)
    if type(source) is str and _fits(source):  # Code of BSON is a str, too
        return source
    return MADE + hashlib.sha256(_bytes(source)).hexdigest()[:32]


def shown(source: object) -> str:
    """The id of a document, for a report: one line."""
    if isinstance(source, str | ObjectId):
        word = str(source)
        return _cut(word if word.isprintable() else repr(word))
    return _cut(repr(source))


def id_of_raw(raw: bytes) -> str:
    """The same for a document that cannot be decoded, where its id is an ObjectId; else "?"."""
    if raw[4:9] == _OBJECT_ID_FIRST:
        return raw[9:21].hex()
    return "?"


def _fits(word: str) -> bool:
    try:
        size = len(word.encode())
    except UnicodeEncodeError:
        return False
    likened = _OF_OBJECT_ID.match(word) or word.startswith(MADE)
    fits = word and len(word) <= limits.JOB_ID_CHARACTERS and size <= limits.JOB_ID_BYTES
    return bool(fits and not likened and not _CONTROL.search(word))


def _bytes(source: object) -> bytes:
    try:
        return bson.encode({"_id": source})
    except (BSONError, UnicodeEncodeError):  # a string in it is not UTF-8
        return repr(source).encode(errors="backslashreplace")


def _cut(word: str) -> str:
    return word if len(word) <= _SHOWN else f"{word[:_SHOWN]}…"
