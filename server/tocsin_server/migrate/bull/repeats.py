"""What repeats in Bull: named, and left. A member of `repeat` is name:id:end:zone:cron, or name:id:end:every."""

from __future__ import annotations

from collections.abc import AsyncIterator

from tocsin_server.migrate.bull.names import shown
from tocsin_server.migrate.bull.source import WrongKind
from tocsin_server.migrate.bull.walking import Walk
from tocsin_server.migrate.foreign import Foreign, Verdict

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
    """ "every 300000 ms", "cron '0 3 * * *' in Europe/Berlin"."""
    parts = shown(member).split(":")[3:]
    if len(parts) == 1 and parts[0].isdigit():
        return every(parts[0])
    return cron(":".join(parts[1:]), parts[0]) if len(parts) > 1 else "by a rule that cannot be read"


def every(ms: str) -> str:
    """An interval."""
    return f"every {ms} ms"


def cron(pattern: str, zone: str) -> str:
    """A cron rule."""
    return f"cron {pattern!r}" + (f" in {zone}" if zone else "")


def left_because(rule: str) -> str:
    """Why a rule is left."""
    return f"it repeats ({rule}): what repeats is not taken over"
