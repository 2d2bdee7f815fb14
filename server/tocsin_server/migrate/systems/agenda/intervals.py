"""How often Agenda runs a job again, in the words that it takes: "5 minutes", "one hour and 30 seconds", "3:30pm"."""

from __future__ import annotations

import re

from tocsin_server.migrate.systems.agenda.fields import quoted
from tocsin_server.migrate.systems.recurring.rule import NoLike

# As in the npm package human-interval: a month has 30 days, a year 365.
_MS = {"second": 1_000, "minute": 60_000, "hour": 3_600_000, "day": 86_400_000, "week": 604_800_000}
_MS |= {"month": 30 * _MS["day"], "year": 365 * _MS["day"]}
_UNIT = re.compile(rf"({'|'.join(_MS)})s?")
_BETWEEN = re.compile(r"([^a-z\d.-]|and)+")
_DIGITS = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?")  # what JavaScript's parseFloat takes of a text
_ONES = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen"
_WORDS = {word: n for n, word in enumerate(f"{_ONES} seventeen eighteen nineteen".split())}
_WORDS |= {word: 10 * n for n, word in enumerate("twenty thirty forty fifty sixty seventy eighty ninety".split(), 2)}
_ONE = {"every": 0, "a": 1, "an": 1}
_OF_DAY = re.compile(r"(?:at\s+)?(?:(\d{1,2})(?:[:.](\d{2}))?\s*(am|pm)?|(noon)|(midnight))", re.IGNORECASE)


def in_words(text: str) -> bool:
    """Whether it speaks of units, as no cron does."""
    return _UNIT.search(text) is not None


def interval_ms(text: str) -> tuple[float, bool]:
    """Milliseconds, and whether Agenda itself reads them so: of "every 5 minutes" or "an hour" it makes no interval at
    all, and runs the job again and again. NoLike where a number cannot be read."""
    total, literal = 0.0, True
    rest = _BETWEEN.sub(" ", text)
    while (unit := _UNIT.search(rest)) is not None:
        number, as_agenda = _number(rest[: unit.start()].strip(), text)
        total += number * _MS[unit[1]]
        literal = literal and as_agenda
        rest = rest[unit.end() :]
    return total, literal


def _number(words: str, text: str) -> tuple[float, bool]:
    if not words:
        return 1, True
    if digits := _DIGITS.match(words):
        return float(digits[0]), True
    number, literal = 0.0, True
    parts = re.split(r"[\s-]+", words)
    for place, part in enumerate(parts):
        if part in _WORDS:
            number += _WORDS[part]
        elif part == "hundred":
            number = max(number, 1) * 100
        elif part in _ONE:
            number, literal = number + _ONE[part], False
            if part == "every" and place == len(parts) - 1:
                number += 1  # "every day"
        elif digits := _DIGITS.fullmatch(part):
            number += float(digits[0])
        else:
            raise NoLike(f"its interval {quoted(text)} cannot be read")
    return number, literal


def cron_of_day(text: str) -> str:
    """A time of day as a line of cron. NoLike: what else Agenda reads ("friday at 5pm") is another thing each time."""
    found = _OF_DAY.fullmatch(text.strip())
    if found is None:
        raise NoLike(f"{quoted(text)} is no time of day")
    hour, minute, half, noon, midnight = found.groups()
    if noon or midnight:
        return f"0 {12 if noon else 0} * * *"
    hours, minutes = int(hour), int(minute or 0)
    told = minute or half or text.strip().lower().startswith("at")  # a bare number is no time to Agenda
    if not told or minutes > 59 or hours > (12 if half else 23) or (half and not hours):
        raise NoLike(f"{quoted(text)} is no time of day")
    if half:
        hours = hours % 12 + (12 if half.lower() == "pm" else 0)
    return f"{minutes} {hours} * * *"
