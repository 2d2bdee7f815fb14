"""What a queue of BullMQ's has beside its jobs: rules by which jobs are made again and again, and limits."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from tocsin_server.migrate.systems.bull.names import shown
from tocsin_server.migrate.systems.bull.rule_words import words_of, words_of_member
from tocsin_server.migrate.systems.bull.walking import Walk
from tocsin_server.migrate.systems.foreign import Foreign, Verdict

LIMITS, GROUPED = "limits", "groups"
GROUPS = "the queue has groups (BullMQ Pro), whose jobs are not read: let its workers run them"
_FIELDS = ("pattern", "every", "tz", "startDate", "endDate", "limit", "data")


async def words_of_schedulers(walk: Walk, members: Sequence[bytes]) -> Sequence[str]:
    """Each job scheduler, or repeatable job of BullMQ before 6, by what is kept of it, or else by its name."""
    keys = [walk.root + b"repeat:" + member for member in members]
    rules = await walk.source.ask([("HMGET", key, *_FIELDS) for key in keys])
    return [_words(member, values) for member, values in zip(members, rules, strict=True)]


def _words(member: bytes, values: object) -> str:
    said = dict(zip(_FIELDS, values, strict=True)) if isinstance(values, list) else {}
    return words_of(said) if said.get("pattern") or said.get("every") else words_of_member(member)


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
