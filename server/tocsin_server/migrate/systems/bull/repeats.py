"""What repeats in Bull: named, and left. A member of `repeat` is name:id:end:zone:cron, or name:id:end:every. Limit and
data of a rule stand in its next run, which is left as well."""

from __future__ import annotations

from collections.abc import AsyncIterator

from tocsin_server.migrate.systems.bull.json_text import number_of, time_of
from tocsin_server.migrate.systems.bull.names import shown
from tocsin_server.migrate.systems.bull.source import WrongKind
from tocsin_server.migrate.systems.bull.walking import Walk
from tocsin_server.migrate.systems.foreign import Foreign, Verdict

WORD = "repeat"


async def repeats(walk: Walk) -> AsyncIterator[Foreign]:
    """Each rule, once."""
    try:
        async for members in walk.source.ranked(walk.root + b"repeat"):
            for member, _ in members:
                yield walk.maker.not_taken(member, WORD, Verdict.LEFT, left_because(rule_of(member)))
    except WrongKind:
        yield walk.wrong(b"repeat")


def rule_of(member: bytes) -> str:
    """ "every 300000 ms", "cron '0 3 * * *' in Europe/Berlin, until 2027-01-15T08:00:00Z". BullMQ before 4 gives an
    interval a time zone, too."""
    end, *parts = shown(member).split(":")[2:] or [""]
    if parts and len(parts) <= 2 and parts[-1].isdigit():
        rule = every(parts[-1])
    elif len(parts) > 1 and parts[-1]:
        rule = cron(":".join(parts[1:]), parts[0])
    else:
        return "by a rule that cannot be read"
    return rule + until(end)


def every(ms: str) -> str:
    """An interval."""
    return f"every {ms} ms"


def cron(pattern: str, zone: str) -> str:
    """A cron rule."""
    return f"cron {pattern!r}" + (f" in {zone}" if zone else "")


def until(end: str) -> str:
    """When it ends, from milliseconds; "" where it does not."""
    return f", until {_time(end)}" if end else ""


def since(start: str) -> str:
    """When it begins, likewise."""
    return f", from {_time(start)}" if start else ""


def _time(ms: str) -> str:
    time = time_of(number_of(ms.encode()))
    return ms if time is None else time.isoformat().replace("+00:00", "Z")


def left_because(rule: str) -> str:
    """Why a rule is left."""
    return f"it repeats ({rule}): what repeats is not taken over"
