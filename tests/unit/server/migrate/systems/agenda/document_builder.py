"""Documents as Agenda writes them, and what becomes of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import bson
from bson.code import Code
from bson.datetime_ms import DatetimeMS
from bson.dbref import DBRef
from bson.decimal128 import Decimal128
from bson.min_key import MinKey
from bson.objectid import ObjectId
from bson.regex import Regex
from bson.timestamp import Timestamp
from hypothesis import strategies as st
from tocsin.payloads import DecodedPayload, decode_payload
from tocsin_server.api.requests.payloads.checking import check_payload
from tocsin_server.api.requests.violations import Violations
from tocsin_server.domain.job import Job, Payload
from tocsin_server.domain.schedules.standing import Schedule
from tocsin_server.migrate.systems.agenda.decisions import Decisions
from tocsin_server.migrate.systems.agenda.names import TypeNames
from tocsin_server.migrate.systems.foreign import Choices, Foreign

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
EARLIER = datetime(2026, 6, 1, 11, tzinfo=UTC)
LATER = datetime(2026, 6, 1, 13, 0, 0, 123_000, tzinfo=UTC)
MADE = datetime(2026, 5, 1, tzinfo=UTC)
ID = ObjectId.from_datetime(MADE)
NOTHING_MORE = Choices()
ALL = Choices(take_active=True, take_completed=True)


def a_document(**fields: Any) -> dict[str, Any]:
    """A job that is due later, as Agenda 6 saves it; `fields` stand over it."""
    return {
        "_id": ID,
        "name": "send-email",
        "data": {"to": "ada@example.com"},
        "type": "normal",
        "priority": 0,
        "nextRunAt": LATER,
        "lockedAt": None,
        "lastFinishedAt": None,
        "failedAt": None,
        "failCount": None,
        "disabled": None,
        "lastModifiedBy": "worker-1",
        **fields,
    }


def things_of(
    document: Mapping[str, Any] | bytes, choices: Choices = NOTHING_MORE, *, names: Iterable[str] = ("send-email",)
) -> Sequence[Foreign]:
    """What becomes of a document, or of its BSON."""
    raw = document if isinstance(document, bytes) else bson.encode(document)
    return Decisions("agendaJobs", "mail", TypeNames(names), choices, NOW).found(raw)


def becomes(
    document: Mapping[str, Any] | bytes, choices: Choices = NOTHING_MORE, *, names: Iterable[str] = ("send-email",)
) -> Foreign:
    """The one thing that becomes of it."""
    [found] = things_of(document, choices, names=names)
    return found


def schedule_of(found: Foreign) -> Schedule:
    """The schedule that it becomes."""
    assert found.schedule is not None, found
    return found.schedule


def job_of(found: Foreign) -> Job:
    """The job that it becomes."""
    assert found.job is not None, found
    return found.job


def data_of(found: Foreign) -> DecodedPayload:
    """Its payload, as a handler gets it."""
    payload = job_of(found).spec.payload
    return None if payload is None else decode_payload(payload.kind, payload.body)


def acceptable(payload: Payload) -> None:
    """The api would have taken it."""
    wrong = Violations()
    check_payload(wrong, "job", payload.kind, payload.body)
    wrong.done()


#: Any values that BSON can hold.
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(),
    st.text(st.characters(exclude_categories=["Cs"])),
    st.binary(max_size=20),
    st.datetimes().map(lambda time: time.replace(tzinfo=UTC)),
    st.builds(DatetimeMS, st.integers(-(2**63), 2**63 - 1)),
    st.just(ID),
    st.sampled_from([Decimal128("NaN"), MinKey(), Timestamp(0, 1), Code("x"), Regex("(", 0), DBRef("a", 1)]),
)
KEYS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=10)
VALUES = st.recursive(LEAVES, lambda inner: st.lists(inner) | st.dictionaries(KEYS, inner), max_leaves=15)
