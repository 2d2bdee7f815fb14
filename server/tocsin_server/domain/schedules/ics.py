"""Reads the days of an .ics text (RFC 5545): those that its events cover.

Of an event DTSTART, DTEND or DURATION, RRULE, RDATE, EXDATE and STATUS are read; events of days, and events of hours,
which cover each day that they touch. Repeated events are yearly ones; whatever else would change the days is refused
rather than passed over. The rest of the file (alarms, zones, to-dos) is left out. A public calendar of holidays has
nothing more.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from itertools import islice
from zoneinfo import ZoneInfo

from tocsin_server.domain.schedules.yearly import Yearly, span
from tocsin_server.domain.time_zones import UnknownZone, zone_of

MOST_BYTES = 256 << 10
MOST_EVENTS = 2_000
MOST_DAYS = 366  # of one event
MOST_DATES = 20_000  # of all single events, each as often as it stands there: so much work it is
MOST_STARTS, MOST_YEARLY_DAYS = 1_000, 5_000  # of all yearly events in one year
MOST_COUNT = 200  # of a repeated event that ends after so many

_WEEKDAYS = ("MO", "TU", "WE", "TH", "FR", "SA", "SU")
_BY_DAY = re.compile(rf"([+-]?[1-5])?({'|'.join(_WEEKDAYS)})")
_DURATION = re.compile(r"\+?P(?:(\d{1,4})W|(?:(\d{1,4})D)?(?:T(?:(\d{1,4})H)?(?:(\d{1,4})M)?(?:(\d{1,5})S)?)?)")
_LINE = re.compile(r'([A-Za-z0-9-]+)((?:;[A-Za-z0-9-]+=(?:"[^"]*"|[^";:])*)*):(.*)')
_ZONE = re.compile(r";TZID=\"?([^\";]+)", re.IGNORECASE)
_READ = frozenset({"DTSTART", "DTEND", "DURATION", "RRULE", "RDATE", "EXDATE", "STATUS", "RECURRENCE-ID", "EXRULE"})
_SECOND = timedelta(seconds=1)


class UnreadCalendar(ValueError):
    """The text says something that is not read, or is no calendar: the description of a violation."""


@dataclass(slots=True)
class IcsDays:
    """The days of a text. Once they are read, many share them."""

    dates: set[date] = field(default_factory=set)
    added: int = 0  # days, also those that were there
    yearly: list[Yearly] = field(default_factory=list)


@dataclass(slots=True)
class _Property:
    line: int  # from 1
    name: str
    parameters: str
    value: str


@lru_cache(maxsize=16)
def read_ics(text: str, zone: ZoneInfo) -> IcsDays:
    """The days that its events cover, by the wall clock of a zone. UnreadCalendar."""
    if len(text.encode()) > MOST_BYTES:
        raise UnreadCalendar(f"has {len(text.encode()):,} bytes, at most {MOST_BYTES:,} are allowed")
    days, events, inside = IcsDays(), 0, list[str]()
    event: dict[str, list[_Property]] = {}
    for line in _properties(text):
        kind = line.value.strip().upper()
        if line.name == "BEGIN":
            if not inside and kind != "VCALENDAR":
                raise UnreadCalendar(f"is no calendar: line {line.line} begins {kind!r} before BEGIN:VCALENDAR")
            inside.append(kind)
            if kind == "VEVENT":
                event = {}
                events += 1
                if events > MOST_EVENTS:
                    raise UnreadCalendar(f"has more than the {MOST_EVENTS:,} events that are allowed")
        elif line.name == "END":
            if not inside or inside.pop() != kind:
                raise UnreadCalendar(f"ends {kind!r} in line {line.line}, which was not begun")
            if kind == "VEVENT":
                _add(days, event, line.line, zone)
        elif not inside:
            raise UnreadCalendar(f"is no calendar: line {line.line} stands before BEGIN:VCALENDAR")
        elif inside[-1] == "VEVENT" and line.name in _READ:
            event.setdefault(line.name, []).append(line)
    if inside:
        raise UnreadCalendar(f"ends before END:{inside[-1]}")
    if not events:
        raise UnreadCalendar("has no event (BEGIN:VEVENT)")
    _check_yearly(days.yearly)
    return days


def _properties(text: str) -> Iterator[_Property]:
    """The lines, each with those that continue it."""
    joined: list[tuple[int, list[str]]] = []
    for number, line in enumerate(text.removeprefix("\ufeff").split("\n"), start=1):
        line = line.removesuffix("\r")
        if line[:1] in (" ", "\t") and joined:
            joined[-1][1].append(line[1:])
        elif line:
            joined.append((number, [line]))
    for number, pieces in joined:
        found = _LINE.fullmatch("".join(pieces))
        if found is None:
            raise UnreadCalendar(f"has no NAME:VALUE in line {number}")
        yield _Property(number, found[1].upper(), found[2], found[3])


def _add(days: IcsDays, event: dict[str, list[_Property]], end_line: int, zone: ZoneInfo) -> None:
    """The days of one event."""
    if any(one.value.strip().upper() == "CANCELLED" for one in event.get("STATUS", ())):
        return
    for name in ("RECURRENCE-ID", "EXRULE"):
        for one in event.get(name, ()):
            raise _unread(one, f"{name} is not read: write what it changes as events of their own")
    for name in ("DTSTART", "DTEND", "DURATION", "RRULE"):
        if len(event.get(name, ())) > 1:
            raise _unread(event[name][1], f"{name} stands there twice in one event")
    if "DTSTART" not in event:
        raise UnreadCalendar(f"has an event without DTSTART, which ends in line {end_line}")
    start = _time(event["DTSTART"][0], event["DTSTART"][0].value, zone)
    try:
        first, length = _date(start), _length(event, start, zone)
    except OverflowError:
        raise _unread(event["DTSTART"][0], "its event ends after the year 9999") from None
    if length > MOST_DAYS:
        raise _unread(event["DTSTART"][0], f"its event has {length:,} days, at most {MOST_DAYS} are allowed")
    left_out = frozenset(_date(day) for one in event.get("EXDATE", ()) for day in _times(one, zone))
    for one in event.get("RDATE", ()):
        for day in _times(one, zone):
            _add_dates(days, _date(day), length)
    if "RRULE" in event:
        days.yearly.append(_yearly(event["RRULE"][0], first, length, left_out, zone))
    elif first not in left_out:
        _add_dates(days, first, length)


def _check_yearly(rules: list[Yearly]) -> None:
    """Each year that is looked at costs as much as they have days in it."""
    starts = days = 0
    for rule in rules:
        count = rule.most_starts()
        starts, days = starts + count, days + count * rule.days
        if starts > MOST_STARTS or days > MOST_YEARLY_DAYS:
            raise UnreadCalendar(
                f"has yearly events of more than {MOST_YEARLY_DAYS:,} days a year, or more than {MOST_STARTS:,} of them"
            )


def _add_dates(days: IcsDays, first: date, length: int) -> None:
    days.added += length
    if days.added > MOST_DATES:
        raise UnreadCalendar(f"has more than the {MOST_DATES:,} days that are allowed, those of all events together")
    days.dates.update(span(first, length))


def _length(event: dict[str, list[_Property]], start: date, zone: ZoneInfo) -> int:
    """How many days an event covers."""
    whole_days = not isinstance(start, datetime)
    if "DTEND" in event:
        end = _time(event["DTEND"][0], event["DTEND"][0].value, zone)
        if isinstance(end, datetime) == whole_days:
            raise _unread(event["DTEND"][0], "DTEND is no date where DTSTART is one, or the other way round")
    elif "DURATION" in event:
        end = start + _duration(event["DURATION"][0])
    else:
        end = start + (timedelta(days=1) if whole_days else _SECOND)
    if end < start:
        raise _unread(event["DTSTART"][0], "its event ends before it begins")
    # The end is not in it: one that ends at midnight does not touch the day that begins then.
    last = max(start, end - (timedelta(days=1) if whole_days else _SECOND))
    return (_date(last) - _date(start)).days + 1


def _duration(one: _Property) -> timedelta:
    found = _DURATION.fullmatch(one.value.strip().upper())
    if found is None or not any(found.groups()):
        raise _unread(one, f"{one.value!r} is no DURATION such as P1D")
    weeks, days, hours, minutes, seconds = (int(number or 0) for number in found.groups())
    return timedelta(weeks=weeks, days=days, hours=hours, minutes=minutes, seconds=seconds)


def _times(one: _Property, zone: ZoneInfo) -> Iterator[date]:
    for value in one.value.split(","):
        yield _time(one, value, zone)


def _time(one: _Property, text: str, zone: ZoneInfo) -> date:
    """A date, or the wall-clock time that a zone shows then."""
    text = text.strip().upper()
    try:
        if re.fullmatch(r"\d{8}", text):
            return date(int(text[:4]), int(text[4:6]), int(text[6:]))
        if re.fullmatch(r"\d{8}T\d{6}Z?", text):
            time = datetime.strptime(text[:15], "%Y%m%dT%H%M%S")
            named = _ZONE.search(one.parameters)
            if named is None and not text.endswith("Z"):
                return time
            theirs = UTC if named is None else zone_of(named[1])
            return time.replace(tzinfo=theirs).astimezone(zone).replace(tzinfo=None, fold=0)
    except (ValueError, OverflowError, UnknownZone):
        pass
    raise _unread(one, f"{text[:60]!r} is neither a date (20261224) nor a time of a known zone (20261224T180000Z)")


def _date(time: date) -> date:
    return time.date() if isinstance(time, datetime) else time


def _yearly(one: _Property, start: date, days: int, left_out: frozenset[date], zone: ZoneInfo) -> Yearly:
    parts: dict[str, str] = {}
    for part in one.value.strip().upper().split(";"):
        name, equals, value = part.partition("=")
        if not equals or name in parts:
            raise _unread(one, f"{part[:60]!r} is no part of an RRULE, or stands there twice")
        parts[name] = value
    if (frequency := parts.pop("FREQ", "")) != "YEARLY":
        raise _unread(one, f"FREQ={frequency} is not read, only YEARLY is; for days of the week use `weekdays`")
    parts.pop("WKST", None)  # the week's first day, which says nothing here
    known = {"INTERVAL", "COUNT", "UNTIL", "BYMONTH", "BYMONTHDAY", "BYDAY"}
    if unknown := sorted(parts.keys() - known):
        raise _unread(one, f"{unknown[0]} of an RRULE is not read, only {', '.join(sorted(known))} are")
    weekdays = []
    for value in filter(None, parts.get("BYDAY", "").split(",")):
        found = _BY_DAY.fullmatch(value)
        if found is None:
            raise _unread(one, f"{value[:60]!r} is no BYDAY such as 4TH or -1MO")
        weekdays.append((int(found[1] or 0), _WEEKDAYS.index(found[2])))
    if weekdays and "BYMONTH" not in parts:
        raise _unread(one, "BYDAY is read together with BYMONTH only")
    rule = Yearly(
        start,
        days,
        interval=_numbers(one, parts, "INTERVAL", 1, 1_000)[0] if "INTERVAL" in parts else 1,
        until=_date(_time(one, parts["UNTIL"], zone)) if "UNTIL" in parts else None,
        months=tuple(_numbers(one, parts, "BYMONTH", 1, 12)),
        month_days=tuple(_numbers(one, parts, "BYMONTHDAY", -31, 31)),
        weekdays=tuple(weekdays),
        left_out=left_out,
    )
    if "COUNT" in parts:
        [count] = _numbers(one, parts, "COUNT", 1, MOST_COUNT)[:1]
        rule = _ending_after(rule, count)
    return rule


def _numbers(one: _Property, parts: dict[str, str], name: str, least: int, most: int) -> list[int]:
    """In order; none where the part is not there."""
    if name not in parts:
        return []
    found = []
    for value in parts[name].split(","):
        if not re.fullmatch(r"[+-]?[0-9]{1,4}", value) or not least <= int(value) <= most or int(value) == 0:
            raise _unread(one, f"{name} is {value[:60]!r}, not {least} to {most:,}")
        found.append(int(value))
    return sorted(set(found))


def _ending_after(rule: Yearly, count: int) -> Yearly:
    """With the day of its last span as `until`."""
    years = range(rule.start.year, min(rule.start.year + MOST_COUNT * rule.interval, date.max.year) + 1, rule.interval)
    starts = islice((day for year in years for day in rule.starts(year)), count)
    return replace(rule, until=max(starts, default=rule.start))


def _unread(one: _Property, description: str) -> UnreadCalendar:
    return UnreadCalendar(f"line {one.line}: {description}")
