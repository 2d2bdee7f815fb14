"""Collects what is wrong with a request, field by field, in the words that its sender reads."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from datetime import timedelta
from typing import NoReturn

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from tocsin_server.domain import limits
from tocsin_server.domain.errors import InvalidFields, Violation
from tocsin_server.domain.times import MILLISECOND

_NAME = re.compile(r"[A-Za-z0-9._-]{1,100}\Z")
_TAG_KEY = re.compile(r"[A-Za-z0-9._-]{1,63}\Z")
_VERSION = re.compile(r"[A-Za-z0-9._+-]{0,63}\Z")
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")
_LAST_SECOND = 253_402_300_799  # the last of the year 9999
_NANOS = 1_000_000_000

#: Violations that are listed by themselves; a request with more of them names how many were left out.
MOST = 50


def is_name(value: str) -> bool:
    """Whether it can be a queue or a type."""
    return _NAME.match(value) is not None


class Violations:
    """What is wrong so far. The field of each is its path as typed."""

    __slots__ = ("_found", "_more")

    def __init__(self) -> None:
        self._found: list[Violation] = []
        self._more = 0

    def add(self, field: str, description: str) -> None:
        """One thing more that is wrong."""
        if len(self._found) < MOST:
            self._found.append(Violation(field, description))
        else:
            self._more += 1

    def done(self) -> None:
        """Raise InvalidFields where anything is wrong."""
        if self._found:
            self._raise()

    def _raise(self) -> NoReturn:
        if self._more:
            last = self._found[-1]
            self._found[-1] = Violation(last.field, f"{last.description} (and {self._more:,} more are wrong)")
        raise InvalidFields(self._found)

    def __bool__(self) -> bool:
        return bool(self._found)

    def name(self, field: str, value: str) -> None:
        """A queue or a type, which must be there."""
        if not _NAME.match(value):
            if not value:
                self.add(field, "is needed")
            elif len(value) > limits.NAME_CHARACTERS:
                self.add(field, f"has {len(value):,} characters, at most {limits.NAME_CHARACTERS} are allowed")
            else:
                self.add(field, "has a character other than A-Z a-z 0-9 . _ -")

    def version(self, field: str, value: str) -> None:
        """Of a worker's code; empty where it has none."""
        if not _VERSION.match(value):
            self.add(field, f"is no version: up to {limits.VERSION_CHARACTERS} of A-Z a-z 0-9 . _ + - are allowed")

    def key(self, field: str, value: str) -> str:
        """A type that is the key of a map; the path of its value."""
        if _NAME.match(value):
            return f"{field}[{value}]"
        most = limits.NAME_CHARACTERS
        path = f"{field}[{value if len(value) <= most else value[:most] + '…'!r}]"
        self.add(path, f"is no type: 1 to {most} of A-Z a-z 0-9 . _ - are allowed")
        return path

    def queue(self, field: str, value: str) -> None:
        """A queue; empty is the default one."""
        if value:
            self.name(field, value)

    def job_id(self, field: str, value: str) -> None:
        """The id of a job, which must be there."""
        if not value:
            self.add(field, "is needed")
        elif len(value) > limits.JOB_ID_CHARACTERS:
            self.add(field, f"has {len(value):,} characters, at most {limits.JOB_ID_CHARACTERS} are allowed")
        elif not value.isascii() and len(value.encode()) > limits.JOB_ID_BYTES:
            self.add(field, f"has more than {limits.JOB_ID_BYTES} bytes of UTF-8")
        elif _CONTROL.search(value):
            self.add(field, "has a control character")

    def text(self, field: str, value: str, most_bytes: int) -> None:
        """Any text, bounded by its bytes of UTF-8."""
        # A character has at most 4 bytes, so most texts need no encoding to be known as short enough.
        if len(value) * 4 > most_bytes and (size := len(value.encode())) > most_bytes:
            self.add(field, f"has {size:,} bytes of UTF-8, at most {most_bytes:,} are allowed")

    def characters(self, field: str, value: str, most: int) -> None:
        """Text without control characters, bounded by its characters."""
        if len(value) > most:
            self.add(field, f"has {len(value):,} characters, at most {most:,} are allowed")
        self._printable(field, value)

    def line(self, field: str, value: str, most_bytes: int) -> None:
        """Text without control characters, bounded by its bytes of UTF-8."""
        self.text(field, value, most_bytes)
        self._printable(field, value)

    def _printable(self, field: str, value: str) -> None:
        if _CONTROL.search(value):
            self.add(field, "has a line break or another control character")

    def count(self, field: str, values: Collection[object], most: int, *, least: int = 0) -> bool:
        """How many there are; True where the number is right."""
        if len(values) < least:
            self.add(field, f"needs at least {least}")
        elif len(values) > most:
            self.add(field, f"has {len(values):,} entries, at most {most:,} are allowed")
        else:
            return True
        return False

    def names(self, field: str, values: Collection[str]) -> None:
        """Types to filter by."""
        if self.count(field, values, limits.FILTER_TYPES):
            for i, value in enumerate(values):
                self.name(f"{field}[{i}]", value)

    def tags(self, field: str, tags: Mapping[str, str]) -> None:
        """Labels of a job or of a worker, or to filter by."""
        if not self.count(field, tags, limits.TAGS):
            return
        for key, value in tags.items():
            if not _TAG_KEY.match(key):
                shown = key if len(key) <= limits.TAG_KEY_CHARACTERS else key[: limits.TAG_KEY_CHARACTERS] + "…"
                self.add(f"{field}[{shown!r}]", "is no key: 1 to 63 of A-Z a-z 0-9 . _ - are allowed")
            else:
                self.text(f"{field}.{key}", value, limits.TAG_VALUE_BYTES)

    def enum(self, field: str, value: int, allowed: Mapping[int, str]) -> None:
        """A number of an enum. `allowed` has its names, the unspecified one included where that is allowed."""
        if value not in allowed:
            self.add(field, f"is {value}, which is none of {', '.join(allowed.values())}")

    def enums(self, field: str, values: Collection[int], allowed: Mapping[int, str]) -> None:
        """Numbers of an enum, each of which must be allowed."""
        if not self.count(field, values, limits.FILTER_STATES):
            return
        wrong = {value: i for i, value in reversed(list(enumerate(values))) if value not in allowed}
        for value, i in sorted(wrong.items(), key=lambda item: item[1]):
            self.enum(f"{field}[{i}]", value, allowed)

    def number(self, field: str, value: float, least: float, most: float) -> None:
        """A number within bounds; NaN is not."""
        if not least <= value <= most:
            self.add(field, f"is {value:,}, not {least:,} to {most:,}")

    def time(self, field: str, value: Timestamp) -> None:
        """A time in the years 1970 to 9999."""
        if not 0 <= value.nanos < _NANOS:
            self.add(field, f"has nanos of {value.nanos:,}, not 0 to 999,999,999")
        elif not 0 <= value.seconds <= _LAST_SECOND:
            self.add(field, "is not within the years 1970 to 9999")

    def span(self, field: str, value: Duration, least: timedelta, most: timedelta, words: str) -> None:
        """A duration within bounds, which `words` spells out; it is compared after rounding up to the millisecond."""
        seconds, nanos = value.seconds, value.nanos
        if not -_NANOS < nanos < _NANOS or seconds * nanos < 0:
            self.add(field, f"has {seconds:,} seconds and {nanos:,} nanos, which together are no duration")
            return
        total = seconds * _NANOS + nanos
        rounded = -(-total // 1_000_000)
        # Just below zero is not zero, though it rounds up to it.
        if (total < 0 <= least // MILLISECOND) or not least // MILLISECOND <= rounded <= most // MILLISECOND:
            self.add(field, f"is {_seconds(total)} s, not {words}")


def _seconds(nanos: int) -> str:
    """Seconds to the last digit."""
    whole, rest = divmod(abs(nanos), _NANOS)
    fraction = f".{rest:09}".rstrip("0") if rest else ""
    return f"{'-' if nanos < 0 else ''}{whole:,}{fraction}"
