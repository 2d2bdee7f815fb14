"""One document of Agenda's collection. All four lines write the same fields, to which some add their own."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import bson
from bson.codec_options import CodecOptions, DatetimeConversion
from bson.errors import BSONError
from bson.objectid import ObjectId

from tocsin_server.migrate.systems.agenda.fields import (
    BrokenDocument,
    Document,
    a_kind,
    count,
    date,
    deciding,
    name_of,
    percent,
    priority_of,
    quoted,
    text,
    told,
)

# Dates beyond Python's years and bytes that are no UTF-8 are seen as what they are; they stop nothing.
_TOLERANT: CodecOptions[dict[str, Any]] = CodecOptions(
    tz_aware=True,
    tzinfo=UTC,
    unicode_decode_error_handler="surrogateescape",
    datetime_conversion=DatetimeConversion.DATETIME_AUTO,
)

#: What Agenda 4, 5, 6 and @hokify/agenda read and write. `unique` and `uniqueOpts` none of them stores by itself.
_KNOWN = frozenset(
    "_id name data type priority nextRunAt lastRunAt lastFinishedAt lockedAt failedAt failCount failReason"
    " repeatInterval repeatTimezone repeatAt disabled progress unique uniqueOpts lastModifiedBy fork"
    " debounceStartedAt startDate endDate skipDays shouldSaveResult result".split()
)

#: What a report says of a job that repeats, beside its interval.
_OF_RULES = {"repeatTimezone": "time zone", "startDate": "from", "endDate": "until", "skipDays": "but on days"}

#: Failures are counted in 16 bits.
MOST_FAILURES = 2**16 - 1


@dataclass(slots=True)
class AgendaJob:
    """What a document says. None where it says nothing."""

    document: Document
    name: str
    priority: int
    next_run_at: datetime | None
    locked_at: datetime | None
    last_run_at: datetime | None
    last_finished_at: datetime | None
    failed_at: datetime | None
    fail_count: int
    fail_reason: str
    progress: float | None  # 0 to 100
    why: list[str] = field(default_factory=list)  # what is not as it was

    @property
    def made_at(self) -> datetime | None:
        """When it was made, to the second: an ObjectId tells."""
        source = self.document.get("_id")
        return source.generation_time.astimezone(UTC) if isinstance(source, ObjectId) else None

    @property
    def repeats(self) -> str | None:
        """How it repeats, in words for the report; None where it runs once."""
        every, at = self.document.get("repeatInterval"), self.document.get("repeatAt")
        if not every and not at:
            return None
        words = f"every {quoted(every)}" if every else f"at {quoted(at)}"
        words += " ms" if isinstance(every, int | float) else ""
        for name, before in _OF_RULES.items():
            if value := self.document.get(name):
                words += f", {before} {_when(value) if isinstance(value, datetime) else quoted(value)}"
        return words + (", with data" if self.document.get("data") else "")

    @property
    def disabled(self) -> bool:
        """Agenda asks for exactly that: what is not `true` is not disabled."""
        return self.document.get("disabled") is True

    @property
    def failed(self) -> bool:
        """Whether its last run that ended failed."""
        ended, failed = self.last_finished_at, self.failed_at
        return failed is not None and (ended is None or failed >= ended)

    @property
    def finished(self) -> bool:
        """Whether its last run that ended succeeded."""
        return self.last_finished_at is not None and not self.failed

    @property
    def begun(self) -> bool:
        """Whether a run began that has not ended."""
        ends = [at for at in (self.last_finished_at, self.failed_at) if at is not None]
        return self.last_run_at is not None and (not ends or self.last_run_at > max(ends))


def decoded(raw: bytes) -> Document:
    """The document of these bytes. BrokenDocument."""
    try:
        return bson.decode(raw, _TOLERANT)
    except BSONError:
        raise BrokenDocument("it cannot be decoded") from None


def read(document: Document) -> AgendaJob:
    """What the document says. BrokenDocument."""
    why: list[str] = []
    job = AgendaJob(
        document=document,
        name=name_of(document),
        priority=priority_of(document.get("priority"), why),
        next_run_at=deciding(document, "nextRunAt", why),
        locked_at=deciding(document, "lockedAt", why),
        last_run_at=told(document, "lastRunAt", why, date),
        last_finished_at=told(document, "lastFinishedAt", why, date),
        failed_at=told(document, "failedAt", why, date),
        fail_count=_failures(document, why),
        fail_reason=told(document, "failReason", why, text) or "",
        progress=told(document, "progress", why, percent),
        why=why,
    )
    _say_what_is_lost(document, why)
    return job


def _when(time: datetime) -> str:
    return time.isoformat(timespec="milliseconds").replace(".000", "").replace("+00:00", "Z")


def _failures(document: Document, why: list[str]) -> int:
    failures = told(document, "failCount", why, count) or 0
    if failures > MOST_FAILURES:
        why.append(f"failCount is above {MOST_FAILURES:,}, the most that is counted here")
    return min(failures, MOST_FAILURES)


def _say_what_is_lost(document: Document, why: list[str]) -> None:
    if document.get("unique"):
        why.append("unique: here only a job's id keeps a second one out")
    if document.get("debounceStartedAt") is not None:
        why.append("debounce: saving it again does not put it off here")
    if document.get("fork") is True:
        why.append("fork: here the handler says so, with process=True")
    if document.get("type") == "single" and not (document.get("repeatInterval") or document.get("repeatAt")):
        why.append("type single: here a second one of its name can stand")
    if document.get("disabled") not in (None, True, False):
        why.append(f"disabled is {a_kind(document['disabled'])}, which Agenda does not heed")
    unknown = [name for name, value in document.items() if name not in _KNOWN and value is not None]
    if unknown:
        named = ", ".join(map(quoted, unknown[:5]))
        more = f" and {len(unknown) - 5} more" if len(unknown) > 5 else ""
        why.append(f"fields that Agenda does not know are left out: {named}{more}")
