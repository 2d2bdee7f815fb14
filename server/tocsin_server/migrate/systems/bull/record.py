"""A job's hash as its library reads it: lenient where the library is, Unfit where it could not run the job either."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tocsin_server.migrate.systems.bull.dialect import Dialect
from tocsin_server.migrate.systems.bull.json_text import Unfit, count_of, number_of, parsed, time_of

#: The fields that are read. BullMQ's short names stand beside Bull's; no field means two things.
FIELDS = tuple(
    "name data opts timestamp priority attemptsMade atm ats stalledCounter stc failedReason stacktrace "
    "returnvalue processedOn finishedOn progress deid rjk parentKey defa".split()
)
#: Where a job may have much: in its data, and by what it has been through.
DATA, STACKS, RESULT = b"data", b"stacktrace", b"returnvalue"

MOST_ATTEMPTS = 2**31 - 1  # what a job's record holds
MOST_FAILURES = 2**16 - 1

BROKEN_STACKS = "its stack traces cannot be read"
NO_OPTIONS = "its options are no JSON object, and say nothing"
CLAMPED = "the number of its attempts is beyond what can be counted"


@dataclass(frozen=True, slots=True)
class Record:
    """What is known of a job before it is known where it stands."""

    name: bytes  # empty: it was added without one
    data: bytes
    options: Mapping[str, Any]
    created: datetime | None  # None: it cannot be read
    delay: float  # milliseconds, as asked for when it was added
    priority: float  # 1 is the highest, 0 none
    attempts_made: int
    attempts_started: int | None  # BullMQ counts them
    stalls: int
    reason: str | None
    stacks: tuple[str, ...]
    result: bytes | None
    begun: datetime | None
    ended: datetime | None
    progress: bytes | None
    deduplication: bytes | None
    scheduler: str | None  # what makes it again and again
    has_parent: bool
    deferred: str | None  # BullMQ: the failure that its next attempt is to find
    whys: tuple[str, ...]  # what could not be read


def record_of(values: Sequence[bytes | None], dialect: Dialect) -> Record:
    """The record from its FIELDS. Unfit, with a reason."""
    fields = {name: value for name, value in zip(FIELDS, values, strict=True) if value is not None}
    if not fields:
        raise Unfit("its record is gone: only its id stands")
    if "data" not in fields:
        raise Unfit("its record is broken: it has no data")
    whys: list[str] = []
    options = _options(fields.get("opts"), dialect, whys)
    stacks = _stacks(fields.get("stacktrace"), whys)
    made = number_of(fields.get("attemptsMade") or fields.get("atm")) or 0
    if made > MOST_FAILURES:
        whys.append(CLAMPED)
    started = fields.get("ats")
    repeat = options.get("repeat")
    return Record(
        name=b"" if fields.get("name") == dialect.no_name else fields.get("name", b""),
        data=fields["data"],
        options=options,
        created=time_of(number_of(fields.get("timestamp"))),
        delay=max(number_of(options.get("delay")) or 0.0, 0.0),
        priority=number_of(fields.get("priority", options.get("priority"))) or 0.0,
        attempts_made=count_of(made, MOST_FAILURES),
        attempts_started=None if started is None else count_of(started, MOST_ATTEMPTS),
        stalls=count_of(fields.get("stc") or fields.get("stalledCounter"), MOST_FAILURES),
        reason=_lenient(fields.get("failedReason")),
        stacks=stacks,
        result=fields.get("returnvalue"),
        begun=time_of(number_of(fields.get("processedOn"))),
        ended=time_of(number_of(fields.get("finishedOn"))),
        progress=fields.get("progress"),
        deduplication=fields.get("deid"),
        scheduler=_lenient(fields.get("rjk")) or _repeat_key(repeat),
        has_parent="parentKey" in fields,
        deferred=_lenient(fields.get("defa")),
        whys=tuple(whys),
    )


def _options(text: bytes | None, dialect: Dialect, whys: list[str]) -> Mapping[str, Any]:
    if text is None:
        return {}
    try:
        options, _ = parsed(text)
    except ValueError:
        raise Unfit("its options are broken JSON") from None
    if not isinstance(options, dict):
        whys.append(NO_OPTIONS)
        return {}
    return {dialect.short_options.get(name, name): value for name, value in options.items()}


def _stacks(text: bytes | None, whys: list[str]) -> tuple[str, ...]:
    if text is None:
        return ()
    try:
        stacks, _ = parsed(text)
    except ValueError:
        stacks = False
    if stacks is None:
        return ()
    if not isinstance(stacks, list) or not all(isinstance(stack, str) for stack in stacks):
        whys.append(BROKEN_STACKS)
    return tuple(stack for stack in stacks if isinstance(stack, str)) if isinstance(stacks, list) else ()


def _repeat_key(repeat: object) -> str | None:
    if not isinstance(repeat, Mapping):
        return None
    return str(repeat.get("key") or repeat.get("pattern") or repeat.get("cron") or repeat.get("every") or "?")


def _lenient(text: bytes | None) -> str | None:
    return text.decode(errors="replace") if text else None
