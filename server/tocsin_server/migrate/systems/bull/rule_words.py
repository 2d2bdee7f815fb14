"""A rule of Bull's or BullMQ's in words, for the report."""

from __future__ import annotations

from collections.abc import Mapping

from tocsin_server.migrate.systems.bull.json_text import number_of, time_of
from tocsin_server.migrate.systems.bull.names import shown

UNREADABLE = "by a rule that cannot be read"
_LONGEST = 290  # characters of a reason


def left_because(words: str, why: str) -> str:
    """Why a rule is left."""
    text = f"it repeats ({words}): {why}"
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def words_of_member(member: bytes) -> str:
    """Of a member of `repeat`, name:id:end:zone:cron or name:id:end:every: "every 300000 ms", "cron '0 3 * * *' in
    Europe/Berlin, until 2027-01-15T08:00:00Z". BullMQ before 4 gives an interval a time zone, too."""
    end, *parts = shown(member).split(":")[2:] or [""]
    if parts and len(parts) <= 2 and parts[-1].isdigit():
        rule = _every(parts[-1])
    elif len(parts) > 1 and parts[-1]:
        rule = _cron(":".join(parts[1:]), parts[0])
    else:
        return UNREADABLE
    return rule + _until(end)


def words_of(said: Mapping[str, object]) -> str:
    """Of a rule's fields, by BullMQ's names and Bull's: "cron '0 3 * * *', from 2026-09-21T14:13:20Z, at most 5 times".
    Values are text or whatever JSON has."""
    told = {name: _text(value) for name, value in said.items() if value not in (None, "", b"")}
    pattern, interval = told.get("pattern") or told.get("cron"), told.get("every")
    if not pattern and not interval:
        return UNREADABLE
    rule = _cron(pattern, told.get("tz", "")) if pattern else _every(interval or "")
    rule += f", from {_time(told['startDate'])}" if "startDate" in told else ""
    rule += _until(told.get("endDate", ""))
    rule += f", at most {told['limit']} times" if "limit" in told else ""
    return rule + (", with data" if told.get("data", "{}") != "{}" else "")


def _text(value: object) -> str:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return shown(value if isinstance(value, bytes) else str(value).encode(errors="replace"))


def _every(ms: str) -> str:
    return f"every {ms} ms"


def _cron(pattern: str, zone: str) -> str:
    return f"cron {pattern!r}" + (f" in {zone}" if zone else "")


def _until(end: str) -> str:
    return f", until {_time(end)}" if end else ""


def _time(ms: str) -> str:
    time = time_of(number_of(ms.encode()))
    return ms if time is None else time.isoformat().replace("+00:00", "Z")
