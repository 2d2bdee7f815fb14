"""Values of a document, by the type that Agenda writes.

What decides whether Agenda would run a job (name, nextRunAt, lockedAt) must be of that type, else the document is
broken. What only tells of the past is left out where it is not, and `why` says so.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, TypeGuard, TypeVar

from bson.code import Code
from bson.datetime_ms import DatetimeMS

from tocsin_server.domain import limits

Document = Mapping[str, Any]
T = TypeVar("T")

INT32 = 2**31  # one more than the largest
_NAMED = {"lowest": -20, "low": -10, "normal": 0, "high": 10, "highest": 20}
_SHOWN = 100


class BrokenDocument(ValueError):
    """It cannot be a job; the message says why, for the report."""


def quoted(value: object) -> str:
    """Text of the source, for the report: on one line, nothing in it that a terminal obeys, not long."""
    word = repr(value)
    return word if len(word) <= _SHOWN else f"{word[:_SHOWN]}…"


def name_of(document: Document) -> str:
    """The job's name. BrokenDocument."""
    name = document.get("name")
    if name is None:
        raise BrokenDocument("it has no name, so it is no job of Agenda")
    if not _is_string(name):
        raise BrokenDocument(f"its name is {a_kind(name)}, not text")
    if not name:
        raise BrokenDocument("its name is empty")
    try:
        name.encode()
    except UnicodeEncodeError:
        raise BrokenDocument("its name is not UTF-8") from None
    return name


def deciding(document: Document, name: str, why: list[str]) -> datetime | None:
    """A time that decides whether it runs; None where there is none. BrokenDocument."""
    value = document.get(name)
    if value is None:
        return None
    if not isinstance(value, datetime | DatetimeMS):
        raise BrokenDocument(f"{name} is {a_kind(value)}, not a date: Agenda never runs such a job")
    time = _within(value)
    if time != value:
        why.append(f"{name} is not within the years 1970 to 9999: it is {time.isoformat()} now")
    return time


def told(document: Document, name: str, why: list[str], convert: Callable[[Any], T | None]) -> T | None:
    """What `convert` makes of a field that only tells of the past; None where it is nothing."""
    value = document.get(name)
    if value is None:
        return None
    converted = convert(value)
    if converted is None:
        why.append(f"{name} is not as Agenda writes it, but {a_kind(value)}: it is left out")
    return converted


def date(value: object) -> datetime | None:
    """A date, brought within what can stand here."""
    return _within(value) if isinstance(value, datetime | DatetimeMS) else None


def _within(value: datetime | DatetimeMS) -> datetime:
    """The date, or the nearest one that can stand here."""
    if isinstance(value, DatetimeMS):  # beyond Python's years
        return limits.LAST_TIME if int(value) > 0 else limits.FIRST_TIME
    return max(value, limits.FIRST_TIME)


def count(value: object) -> int | None:
    """A whole number from 0."""
    found = number(value)
    return None if found is None or found < 0 else int(found)


def percent(value: object) -> float | None:
    """A number from 0 to 100."""
    found = number(value)
    return None if found is None or not 0 <= found <= 100 else found


def text(value: object) -> str | None:
    """A string, which may hold bytes that are no UTF-8."""
    return value if _is_string(value) else None


def number(value: object) -> float | None:
    """A number as JavaScript has them; NaN and infinity are none."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return value


def _is_string(value: object) -> TypeGuard[str]:
    """Code of BSON is a str to Python, and is none to Agenda."""
    return isinstance(value, str) and not isinstance(value, Code)


def priority_of(value: object, why: list[str]) -> int:
    """The priority, as int32."""
    if value is None:
        return 0
    found = _NAMED.get(value) if _is_string(value) else number(value)
    if found is None:
        why.append(f"priority is {a_kind(value)}, not a number: it is 0 now")
        return 0
    priority = max(-INT32, min(INT32 - 1, math.floor(found)))
    if priority != value:
        why.append(f"priority {quoted(value)} is {priority} now")
    return priority


def a_kind(value: object) -> str:
    """The kind of a value, in words, without what it holds."""
    match value:
        case bool():
            return "a boolean"
        case int() | float():
            return "a number" if number(value) is not None else "NaN or infinite"
        case str() if _is_string(value):
            return "a string"
        case Mapping():
            return "an object"
        case list():
            return "a list"
        case _:
            return f"of the type {type(value).__name__}"
