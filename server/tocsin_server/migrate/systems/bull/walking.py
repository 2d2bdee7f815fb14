"""One queue's jobs, list by list: ids in steps, their records in bounded batches, and what each becomes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from tocsin_server.migrate.systems.bull import names
from tocsin_server.migrate.systems.bull.dialect import Dialect
from tocsin_server.migrate.systems.bull.discovery import KINDS, FoundQueue
from tocsin_server.migrate.systems.bull.jobs import Maker, Place
from tocsin_server.migrate.systems.bull.json_text import Unfit
from tocsin_server.migrate.systems.bull.order import PriorityOf
from tocsin_server.migrate.systems.bull.record import DATA, Record, record_of
from tocsin_server.migrate.systems.bull.repeats import Describe, Repeats
from tocsin_server.migrate.systems.bull.source import BullSource, Id, WrongKind
from tocsin_server.migrate.systems.foreign import Foreign, Verdict

WRONG_KIND = "the key holds another kind of value than {system} keeps there"
NO_JOB = "its key holds another kind of value than a job's"

#: What a job becomes by its place, or why it is left. May raise Unfit.
PlaceOf = Callable[[Id, Record], Place | str]

#: Keys beside a job's own that may hold something of it, and what to say where they do.
BesideOf = Callable[[Id, Record], Sequence[tuple[bytes, str]]]


@dataclass(frozen=True, slots=True)
class Step:
    """One list, or sorted set (`ranked`), of a queue, and what becomes of the jobs in it."""

    key: bytes
    becomes: PlaceOf | str  # a text: all are left, for this reason
    beside: BesideOf
    ranked: bool = False
    large: Sequence[bytes] = (DATA,)  # fields that may be large
    skipped: bytes = b""  # entries that begin so are no jobs

    @property
    def word(self) -> str:
        """The source's own word for the state of what stands there."""
        return self.key.decode()


class Walk:
    """Reads one queue. `now` is the time at which it is read."""

    def __init__(
        self, source: BullSource, queue: FoundQueue, dialect: Dialect, *, zone: str, priority_of: PriorityOf
    ) -> None:
        self.now = datetime.now(UTC)
        self.root = queue.root
        self.source = source
        self.maker = Maker(dialect, queue.name, self.now)
        self.repeats = Repeats(source, queue.root, self.maker, self.now, zone=zone, priority_of=priority_of)
        self._queue = queue
        self._dialect = dialect
        self._looked_for_names = False

    async def step(self, step: Step) -> AsyncIterator[Foreign]:
        """All that stands under one key, in its order."""
        try:
            async for ids in self._ids(step.key, ranked=step.ranked):
                wanted = [entry for entry in ids if not entry[0].startswith(step.skipped)] if step.skipped else ids
                if isinstance(step.becomes, str):  # they are not even read
                    for job_id, _ in wanted:
                        yield self.maker.not_taken(job_id, step.word, Verdict.LEFT, step.becomes)
                    continue
                async for some in self.source.records(self.root, wanted, step.large):
                    for foreign in await self._made(some, step.word, step.becomes, step.beside):
                        yield foreign
        except WrongKind:
            yield self.wrong(step.key)

    def _ids(self, key: bytes, *, ranked: bool) -> AsyncIterator[list[Id]]:
        return self.source.ranked(self.root + key) if ranked else self.source.listed(self.root + key)

    async def rules_without_a_run(self, describe: Describe) -> AsyncIterator[Foreign]:
        """Once all jobs were read: what repeats, and will not run again."""
        try:
            async for foreign in self.repeats.others(describe):
                yield foreign
        except WrongKind:
            yield self.wrong(b"repeat")
        finally:
            self.repeats.close()

    def wrong(self, key: bytes) -> Foreign:
        """That a key holds something else."""
        why = WRONG_KIND.format(system=self._dialect.system)
        return self.maker.not_taken(self.root + key, key.decode(), Verdict.REFUSED, why)

    async def _made(
        self, some: Sequence[tuple[Id, Any]], word: str, place_of: PlaceOf, beside_of: BesideOf
    ) -> list[Foreign]:
        read = [(entry, self._read(values)) for entry, values in some]
        records = [(entry, record) for entry, record in read if isinstance(record, Record)]
        beside = await self._beside(records, beside_of)
        if any(not record.name for _, record in records):
            await self._look_for_names()
        next_runs = await self.repeats.next_runs(records, word)
        made = []
        for entry, record in read:
            try:
                if isinstance(record, Unfit):
                    raise record
                if (next_run := next_runs.get(entry[0])) is not None:
                    made += [next_run.rule] if next_run.rule is not None else []
                    if next_run.run is not None:
                        made.append(next_run.run)
                        continue
                place = place_of(entry, record)
                if isinstance(place, str):
                    made.append(self.maker.not_taken(entry[0], word, Verdict.LEFT, place))
                else:
                    made.append(self.maker.make(entry[0], word, record, place, beside.get(entry[0], ())))
            except Unfit as reason:
                made.append(self.maker.not_taken(entry[0], word, Verdict.REFUSED, str(reason)))
        return made

    def _read(self, values: Any) -> Record | Unfit:
        if isinstance(values, WrongKind):
            return Unfit(NO_JOB)
        if isinstance(values, Unfit):
            return values
        try:
            return record_of(values, self._dialect)
        except Unfit as reason:
            return reason

    async def _beside(self, records: Sequence[tuple[Id, Record]], beside_of: BesideOf) -> dict[bytes, list[str]]:
        asked = [(entry[0], key, why) for entry, record in records for key, why in beside_of(entry, record)]
        there = await self.source.ask([("EXISTS", key) for _, key, _ in asked])
        whys: dict[bytes, list[str]] = {}
        for (job_id, _, why), stands in zip(asked, there, strict=True):
            if stands:
                whys.setdefault(job_id, []).append(why)
        return whys

    async def _look_for_names(self) -> None:
        """Jobs without a name have the queue's as type, unless the queue's other jobs are called so themselves."""
        if not self._looked_for_names:
            self._looked_for_names = True
            taken = await self._is_a_name(self.maker.unnamed)
            self.maker.unnamed = names.unnamed_type(self._queue.name, taken=taken)

    async def _is_a_name(self, kind: str) -> bool:
        for key in KINDS.keys() - {b"id", b"repeat"}:
            try:
                async for ids in self._ids(key, ranked=KINDS[key] == b"zset"):
                    answers = await self.source.ask([("HGET", self.root + job_id, "name") for job_id, _ in ids])
                    called = {name for name in answers if isinstance(name, bytes)} - {self._dialect.no_name, b""}
                    if any(names.type_name(name) == kind for name in called):
                        return True
            except WrongKind:
                continue
        return False
