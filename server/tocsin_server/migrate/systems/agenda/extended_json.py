"""BSON values as JSON can hold them: what JSON lacks is written as in MongoDB's Extended JSON 2, relaxed.

`{"$oid": "65f0..."}`, `{"$date": "2031-05-06T07:08:09.010Z"}`, `{"$numberDecimal": "12.50"}`: EJSON.deserialize of
Node's `bson` and bson.json_util of Python read it back. In one thing it is the canonical form: a whole number beyond
2^53 is `{"$numberLong": "9007199254740993"}`, since most readers of JSON would round it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from bson import json_util
from bson.code import Code
from bson.dbref import DBRef
from bson.regex import Regex

#: What JSON can hold, nested as it may be.
Plain = dict[str, Any] | list[Any] | str | int | float | bool | None

_OPTIONS = json_util.RELAXED_JSON_OPTIONS
_EXACT = 2**53  # up to here a double holds every whole number
_DEEPEST = 250  # MongoDB stores 180 levels; Python's own limit lies at 1,000 calls
_KINDS = {"datetime": "Date", "DatetimeMS": "Date", "bytes": "Binary", "Pattern": "Regex"}


class NotText(ValueError):
    """A string in it is not UTF-8."""


class TooDeep(ValueError):
    """It is nested deeper than MongoDB stores."""


class ExtendedJson:
    """Writes values; `kinds` are the names of those that JSON lacks, of all values so far."""

    def __init__(self) -> None:
        self.kinds: set[str] = set()

    def plain(self, value: object, depth: int = 0) -> Plain:
        """The value of BSON as JSON can hold it.

        Strings are to be decoded with "surrogateescape". Raises NotText and TooDeep.
        """
        if depth > _DEEPEST:
            raise TooDeep
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, str) and not isinstance(value, Code):
            return text(value)
        if isinstance(value, int):
            return int(value) if abs(value) <= _EXACT else self._lacking("Int64", {"$numberLong": str(int(value))})
        if isinstance(value, float):
            if math.isfinite(value):
                return value
            kind = "NaN" if math.isnan(value) else "Infinity"
            return self._lacking(kind, json_util.default(value, _OPTIONS))
        if isinstance(value, Mapping):
            return {text(name): self.plain(item, depth + 1) for name, item in value.items()}
        if isinstance(value, list):
            return [self.plain(item, depth + 1) for item in value]
        if isinstance(value, DBRef):  # decoded from an object that looks like one
            return self.plain(value.as_doc(), depth)
        kind = type(value).__name__
        written = json_util.default(value, _OPTIONS)
        if isinstance(value, Code | Regex):  # have strings in them
            written = self.plain(written, depth)
        return self._lacking(_KINDS.get(kind, kind), written)

    def _lacking(self, kind: str, written: dict[str, Any]) -> Plain:
        self.kinds.add(kind)
        return written


def text(value: str) -> str:
    """The string itself. NotText where bytes that are no UTF-8 were decoded."""
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise NotText from None
    return value
