"""What repeats in Bull and BullMQ: rules, and the next run that each has made ready.

A member of `repeat` names a rule, and its score the time of the next run: a job `repeat:...:MILLISECONDS` in one of the
lists, which has the rule's options and its data. A worker that begins that run makes the one after it, and a rule
without such a run never runs again. So a rule is known by its next run, which becomes the next time of a schedule.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from tocsin_server.domain import limits
from tocsin_server.domain.times import time_to_ms, to_ms, to_time
from tocsin_server.migrate.systems.bull import names
from tocsin_server.migrate.systems.bull.jobs import PER_MS, Maker
from tocsin_server.migrate.systems.bull.json_text import Unfit, number_of, span_of, time_of
from tocsin_server.migrate.systems.bull.record import Record
from tocsin_server.migrate.systems.bull.rule_words import UNREADABLE, left_because, words_of
from tocsin_server.migrate.systems.bull.source import BullSource, Id, WrongKind
from tocsin_server.migrate.systems.foreign import Foreign, Verdict
from tocsin_server.migrate.systems.marks import Marks
from tocsin_server.migrate.systems.recurring.rule import NoLike, NothingAfter, Rule, made

WORD = "repeat"
WITH_ITS_RULE = "it is the next run of what repeats, and left with that"
BY_ITS_SCHEDULE = "it is the next run of what repeats: the schedule makes it"
NO_NEXT_RUN = "it has no next run there, so its workers would never run it again"
BY_ITSELF = "its next run is a job of its own, as it was moved or is none of its times: the schedule goes on after it"
NO_END = "its end cannot be read"

#: In words each of these members of `repeat`.
Describe = Callable[[Sequence[bytes]], Awaitable[Sequence[str]]]

# Where a run stands that no worker has begun.
_AHEAD = frozenset({"paused", "wait", "prioritized", "delayed"})


@dataclass(frozen=True, slots=True)
class NextRun:
    """A job that is a rule's next run: what becomes of the rule, and of the job, None where it is one of its own."""

    rule: Foreign | None  # None: it was met already
    run: Foreign | None


class Repeats:
    """The rules of one queue. They are not held in memory, only marks of those that were met."""

    def __init__(
        self,
        source: BullSource,
        root: bytes,
        maker: Maker,
        now: datetime,
        *,
        zone: str,
        priority_of: Callable[[float], int],
    ) -> None:
        self._source = source
        self._key = root + b"repeat"
        self._maker = maker
        self._now = now
        self._zone = zone
        self.priority_of = priority_of
        self._met = Marks()

    def close(self) -> None:
        """Nothing is asked of it any more."""
        self._met.close()

    async def next_runs(self, some: Sequence[tuple[Id, Record]], word: str) -> Mapping[bytes, NextRun]:
        """Those of these jobs that are the next run of a rule, by their ids."""
        asked = [
            (entry, record, member)
            for entry, record in some
            if word in _AHEAD and record.scheduler and record.begun is None and not record.attempts_made
            for member in _members(record)
        ]
        scores = await self._source.ask([("ZSCORE", self._key, member) for _, _, member in asked])
        found: dict[bytes, NextRun] = {}
        for (entry, record, member), score in zip(asked, scores, strict=True):
            if isinstance(score, WrongKind) or score is None or entry[0] in found:
                continue
            if (run_ms := number_of(entry[0].rpartition(b":")[2])) is not None and run_ms >= float(score):
                found[entry[0]] = self._next_run(entry, record, member, word, int(run_ms))
        return found

    async def others(self, describe: Describe) -> AsyncIterator[Foreign]:
        """The rules of which no next run was met. WrongKind."""
        async for members in self._source.ranked(self._key):
            unmet = [member for member, _ in members if _mark(member) not in self._met]
            for member, words in zip(unmet, await describe(unmet), strict=True):
                yield self._maker.not_taken(member, WORD, Verdict.LEFT, left_because(words, NO_NEXT_RUN))

    def _next_run(self, entry: Id, record: Record, member: bytes, word: str, run_ms: int) -> NextRun:
        if _mark(member) in self._met:  # a worker has gone on meanwhile
            return NextRun(None, self._maker.not_taken(entry[0], word, Verdict.LEFT, WITH_ITS_RULE))
        self._met.add([_mark(member)])
        rule, goes_along = self._rule(entry, record, member, word, run_ms)
        if not goes_along:
            return NextRun(rule, None)
        if rule.schedule is None:
            return NextRun(rule, self._maker.not_taken(entry[0], word, Verdict.LEFT, WITH_ITS_RULE))
        return NextRun(rule, self._maker.not_taken(entry[0], word, Verdict.TAKEN, BY_ITS_SCHEDULE))

    def _rule(self, entry: Id, record: Record, member: bytes, word: str, run_ms: int) -> tuple[Foreign, bool]:
        """What becomes of the rule, and whether its next run goes with it."""
        options = record.options.get("repeat")
        said: Mapping[str, object] = options if isinstance(options, Mapping) else {}
        first, apart = self._first(entry, record, said, word, run_ms)
        whys: list[str] = []
        try:
            becomes = made(
                _rule_of(said, first),
                names.queue_name(member),
                self._maker.spec(record, self.priority_of(record.priority), whys),
                first=first,
                apart=apart,
                now=self._now,
                zone=self._zone,
                note=f"{self._maker.system}: {names.shown(member)}",
            )
        except NoLike as reason:
            why = left_because(words_of(said), str(reason))
            return self._maker.not_taken(member, WORD, Verdict.LEFT, why), not isinstance(reason, NothingAfter)
        except Unfit as reason:
            return self._maker.not_taken(member, WORD, Verdict.REFUSED, str(reason)), True
        whys += [*becomes.why, *([] if becomes.with_first else [BY_ITSELF])]
        return self._maker.repeating(member, WORD, becomes.schedule, whys), becomes.with_first

    def _first(
        self, entry: Id, record: Record, said: Mapping[str, object], word: str, run_ms: int
    ) -> tuple[datetime, bool]:
        """The nominal time of the next run, and whether it goes at another one, as somebody has moved it."""
        # BullMQ before 6 leaves the offset of an interval out of the id, and adds it to the delay.
        offset = int(number_of(said.get("offset")) or 0)
        if offset and record.created is not None and time_to_ms(record.created) + int(record.delay) == run_ms + offset:
            run_ms += offset
        first = time_of(run_ms) or self._now
        due = to_time(int(entry[1] // PER_MS)) if word == "delayed" else None
        return first, first > self._now if due is None else due != first


def _members(record: Record) -> Sequence[bytes]:
    """What may name its rule. BullMQ before 4 tells its jobs nothing of that, but the rule's name is made of its
    options."""
    said = record.options.get("repeat")
    options: Mapping[str, Any] = said if isinstance(said, Mapping) else {}
    end = _date(options.get("endDate"))
    parts = (
        record.name.decode(errors="replace"),
        options.get("jobId") or "",
        "" if end is None else time_to_ms(end),
        options.get("tz") or "",
        options.get("pattern") or options.get("cron") or options.get("every") or "",
    )
    by_options = ":".join(str(part) for part in parts)
    return list(dict.fromkeys(key.encode(errors="replace") for key in (record.scheduler or "", by_options)))


def _rule_of(said: Mapping[str, object], first: datetime) -> Rule:
    """A rule from the options that stand with its next run. NoLike."""
    cron = said.get("pattern") or said.get("cron")
    every_ms = None if cron else number_of(said.get("every"))
    if cron is None and every_ms is None:
        raise NoLike(UNREADABLE)
    every = None if every_ms is None else span_of(every_ms, timedelta(0), limits.MAX_DELAY + timedelta(days=1))
    end = _date(said.get("endDate"))
    if end is None and said.get("endDate"):
        raise NoLike(NO_END)
    if end is not None and every:
        # A run that is begun before the end makes one more, whenever that is.
        steps = max(-((first - end) // every), 0)
        end = time_of(time_to_ms(first) + steps * to_ms(every)) or limits.LAST_TIME
    limit, count = number_of(said.get("limit")), number_of(said.get("count")) or 1
    return Rule(
        cron="" if cron is None else str(cron),
        time_zone="UTC" if said.get("utc") is True else str(said.get("tz") or ""),
        every=every,
        begins=_date(said.get("startDate")),
        last=end,
        max_runs=None if not limit else int(min(max(limit, 1), limits.MAX_RUNS)),
        fired=int(min(max(count - 1, 0), limits.MAX_RUNS)),
    )


def _date(value: object) -> datetime | None:
    """Milliseconds, or a Date as JSON."""
    if (ms := number_of(value)) is not None:
        return time_of(ms)
    try:
        date = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None
    return None if date is None else (date if date.tzinfo else date.replace(tzinfo=UTC)).astimezone(UTC)


def _mark(member: bytes) -> bytes:
    return hashlib.blake2b(member, digest_size=8).digest()
