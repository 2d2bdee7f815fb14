"""What a queue of BullMQ's has beside its jobs: rules by which jobs are made again and again, and limits."""

from __future__ import annotations

from collections.abc import AsyncIterator

from tocsin_server.migrate.systems.bull.names import shown
from tocsin_server.migrate.systems.bull.repeats import WORD, cron, every, left_because, rule_of, since, until
from tocsin_server.migrate.systems.bull.source import WrongKind
from tocsin_server.migrate.systems.bull.walking import Walk
from tocsin_server.migrate.systems.foreign import Foreign, Verdict

LIMITS, GROUPED = "limits", "groups"
GROUPS = "the queue has groups (BullMQ Pro), whose jobs are not read: let its workers run them"
_FIELDS = ("pattern", "every", "tz", "startDate", "endDate", "limit", "data")


async def schedulers(walk: Walk) -> AsyncIterator[Foreign]:
    """Each job scheduler, and each repeatable job of BullMQ before 6, once."""
    try:
        async for members in walk.source.ranked(walk.root + b"repeat"):
            keys = [walk.root + b"repeat:" + member for member, _ in members]
            rules = await walk.source.ask([("HMGET", key, *_FIELDS) for key in keys])
            for (member, _), rule in zip(members, rules, strict=True):
                yield walk.maker.not_taken(member, WORD, Verdict.LEFT, left_because(_rule(member, rule)))
    except WrongKind:
        yield walk.wrong(b"repeat")


def _rule(member: bytes, values: object) -> str:
    pattern, interval, zone, start, end, limit, data = _texts(values)
    if not pattern and not interval:
        return rule_of(member)
    rule = cron(pattern, zone) if pattern else every(interval)
    rule += since(start) + until(end) + (f", at most {limit} times" if limit else "")
    return rule + (", with data" if data not in ("", "{}") else "")


def _texts(values: object) -> list[str]:
    if not isinstance(values, list):
        return [""] * len(_FIELDS)
    return ["" if value is None else shown(value) for value in values]


async def groups_of_queue(walk: Walk) -> AsyncIterator[Foreign]:
    """BullMQ Pro's, where there are any."""
    [kind] = await walk.source.ask([("TYPE", walk.root + b"groups")])
    if kind == b"zset":
        yield walk.maker.not_taken(b"groups", GROUPED, Verdict.LEFT, GROUPS)


async def limits_of_queue(walk: Walk) -> AsyncIterator[Foreign]:
    """What holds for the queue as a whole, where anything does."""
    [values] = await walk.source.ask([("HMGET", walk.root + b"meta", "concurrency", "max", "duration")])
    concurrency, most, duration = values if isinstance(values, list) else (None, None, None)
    rules = []
    if concurrency is not None:
        rules.append(f"at most {shown(concurrency)} jobs at once")
    if most is not None and duration is not None:
        rules.append(f"at most {shown(most)} jobs in {shown(duration)} ms")
    if rules:
        why = f"the queue has limits of its own ({', '.join(rules)}), which are not taken over"
        yield walk.maker.not_taken(b"meta", LIMITS, Verdict.LEFT, why)
