"""Whatever stands in the collection: nothing raises, and each document that is no job is named with its reason."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime
from typing import Any

import bson
import pytest
from bson.code import Code
from bson.datetime_ms import DatetimeMS
from bson.objectid import ObjectId
from bson.timestamp import Timestamp
from hypothesis import given
from hypothesis import strategies as st
from tocsin_server.domain import limits
from tocsin_server.domain.states import State
from tocsin_server.migrate.systems.foreign import Choices, Foreign, Verdict
from tocsin_server.store.put import check_placeable
from unit.server.migrate.systems.agenda.document_builder import (
    ALL,
    EARLIER,
    ID,
    VALUES,
    a_document,
    acceptable,
    becomes,
    job_of,
    things_of,
)

TYPE = re.compile(r"[A-Za-z0-9._-]{1,100}\Z")
NO_DATES = ["2031-05-06T07:08:09Z", math.nan, 1.7e12, 0, True, {}, [EARLIER], Timestamp(1, 1)]


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({}, "no _id"),
        ({"name": "a", "nextRunAt": EARLIER}, "no _id"),
        ({"_id": ID}, "no name"),
        ({"_id": "default/a", "queue": "default", "id": "a", "type": "t", "state": 1}, "no name"),
        ({"_id": ID, "name": None}, "no name"),
        ({"_id": ID, "name": 7}, "its name is a number"),
        ({"_id": ID, "name": math.nan}, "its name is NaN"),
        ({"_id": ID, "name": ["a"]}, "its name is a list"),
        ({"_id": ID, "name": {"$gt": ""}}, "its name is an object"),
        ({"_id": ID, "name": ID}, "its name is of the type ObjectId"),
        ({"_id": ID, "name": Code("send-email")}, "its name is of the type Code"),
        ({"_id": ID, "name": ""}, "its name is empty"),
    ],
)
def test_what_is_no_job_is_refused(document: dict[str, Any], words: str) -> None:
    found = becomes(document, ALL)
    assert (found.verdict, found.source_state, found.job) == (Verdict.REFUSED, "broken", None)
    assert words in found.why[0]
    assert found.source_id == (str(document["_id"]) if "_id" in document else "?")


@pytest.mark.parametrize("name", ["nextRunAt", "lockedAt"])
@pytest.mark.parametrize("value", NO_DATES, ids=repr)
def test_a_time_that_agenda_cannot_compare_is_refused(name: str, value: Any) -> None:
    found = becomes(a_document(**{name: value}), ALL)
    assert (found.verdict, found.job) == (Verdict.REFUSED, None)
    assert found.why[0].startswith(f"{name} is ")
    assert "never runs" in found.why[0]


@pytest.mark.parametrize(
    ("time", "here", "state"),
    [
        (DatetimeMS(9_405_000_000_000_000), limits.LAST_TIME, State.SCHEDULED),  # the year 300,000
        (DatetimeMS(-(2**62)), limits.FIRST_TIME, State.WAITING),
        (datetime(1969, 12, 31, tzinfo=UTC), limits.FIRST_TIME, State.WAITING),
    ],
    ids=["year 300,000", "long ago", "1969"],
)
def test_a_time_beyond_what_can_stand_here_is_the_nearest(time: Any, here: datetime, state: State) -> None:
    found = becomes(a_document(nextRunAt=time))
    assert (found.verdict, len(found.why)) == (Verdict.CHANGED, 1)
    assert (job_of(found).schedule_time, job_of(found).state) == (here, state)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("failCount", value) for value in ("x", -1, math.inf, math.nan, True, [])),
        *(("failReason", value) for value in (7, {"message": "x"}, ["x"], Code("x"))),
        *(("progress", value) for value in ("half", -1, 101, math.nan, True)),
        *((name, value) for name in ("lastRunAt", "lastFinishedAt", "failedAt") for value in ("x", 7, {}, math.nan)),
    ],
)
def test_a_broken_past_is_left_out_and_said(name: str, value: Any) -> None:
    found = becomes(a_document(**{name: value}))
    job = job_of(found)
    assert (found.verdict, len(found.why)) == (Verdict.CHANGED, 1)
    assert name in found.why[0]
    assert (job.attempt, job.failures, job.errors, job.progress, job.start_time) == (0, 0, (), None, None)


@pytest.mark.parametrize("count", [70_000, 2**31, 2**62, 1e300])
def test_a_huge_count_is_the_largest_that_can_stand(count: Any) -> None:
    found = becomes(a_document(nextRunAt=None, failedAt=EARLIER, failCount=count))
    check_placeable([job_of(found)])
    assert (job_of(found).attempt, job_of(found).failures) == (65_535, 65_535)
    assert "failCount is above 65,535, the most that is counted here" in found.why


def test_a_long_reason_is_cut_between_characters() -> None:
    found = becomes(a_document(nextRunAt=None, failedAt=EARLIER, failReason="☂" * 1000))
    message = job_of(found).errors[0].message
    assert message == "☂" * 341
    assert len(message.encode()) <= limits.ERROR_MESSAGE_BYTES
    assert "1,024 bytes" in found.why[0]


def test_a_reason_that_is_not_utf_8_is_shown_with_question_marks() -> None:
    document = a_document(nextRunAt=None, failedAt=EARLIER, failReason="ab__cd")
    assert job_of(becomes(bson.encode(document).replace(b"__", b"\xff\xfe"))).errors[0].message == "ab??cd"


def test_a_name_that_is_not_utf_8_is_refused() -> None:
    found = becomes(bson.encode(a_document(name="__")).replace(b"__", b"\xff\xfe"))
    assert (found.verdict, found.why) == (Verdict.REFUSED, ("its name is not UTF-8",))


@pytest.mark.parametrize("name", ["a\x00b", "\x1b[31mred", "\u202eevil", "🔔\n"])
def test_a_name_with_control_characters_shows_as_escapes(name: str) -> None:
    found = becomes(a_document(name=name), names=[name])
    assert TYPE.match(job_of(found).spec.type)
    assert all(why.isprintable() for why in found.why)


def test_an_id_with_control_characters_shows_as_escapes() -> None:
    found = becomes(a_document(_id="\x1b[31mred"))
    assert found.source_id.isprintable()
    assert not re.search("[\x00-\x1f]", job_of(found).job_id)


@pytest.mark.parametrize("disabled", ["yes", 1, {}, [True]])
def test_only_true_disables(disabled: Any) -> None:
    assert job_of(becomes(a_document(disabled=disabled))).state is State.SCHEDULED


def test_an_object_id_of_the_future_is_not_made_in_the_future() -> None:
    document = a_document(_id=ObjectId("ffffffff0000000000000000"), nextRunAt=EARLIER)
    job = job_of(becomes(document))
    assert job.create_time < datetime(2026, 6, 2, tzinfo=UTC)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\x05\x00\x00\x00",
        bson.encode(a_document())[:-1],
        bson.encode(a_document()).replace(b"\x02name", b"\x7ename"),  # a type of BSON that there is not
    ],
    ids=["nothing", "a head", "cut", "unknown type"],
)
def test_broken_bson_is_refused(raw: bytes) -> None:
    found = becomes(raw, ALL)
    assert (found.verdict, found.source_state) == (Verdict.REFUSED, "broken")


def test_a_broken_document_is_named_by_its_id() -> None:
    assert becomes(bson.encode(a_document()).replace(b"\x02name", b"\x7ename")).source_id == str(ID)


FIELDS = (
    "_id name data type priority nextRunAt lastRunAt lastFinishedAt lockedAt failedAt failCount failReason"
    " repeatInterval repeatTimezone repeatAt startDate endDate skipDays disabled progress unique fork"
    " debounceStartedAt result other"
).split()
TIMES = st.datetimes().map(lambda time: time.replace(tzinfo=UTC))
LIKELY = {
    "name": st.sampled_from(["send-email", "send email", ""]) | st.text(max_size=120),
    **{name: TIMES | st.none() for name in ("nextRunAt", "lockedAt", "lastRunAt", "lastFinishedAt", "failedAt")},
    "failCount": st.integers(-3, 2**40),
    "repeatInterval": st.sampled_from(
        ["5 minutes", "*/5 * * * *", "every 2 days", 60_000, "90000", "0 0 30 2 *", "", "one and a half minutes"]
    )
    | st.text(max_size=30)
    | st.floats(),
    "repeatTimezone": st.sampled_from(["Europe/Berlin", "", "Nowhere/Land"]),
    "repeatAt": st.sampled_from(["3:30pm", "noon", "at 25:00"]) | st.text(max_size=10),
    "startDate": TIMES,
    "endDate": TIMES,
    "disabled": st.booleans(),
}


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    """Documents that are nearly jobs."""
    document: dict[str, Any] = {"_id": ID, "name": "send-email"}
    for name in draw(st.lists(st.sampled_from(FIELDS), unique=True)):
        likely = LIKELY.get(name)
        document[name] = draw(VALUES if likely is None or draw(st.integers(0, 9)) == 0 else likely)
    return document


@given(documents(), st.booleans(), st.booleans())
def test_any_document_becomes_something_whole(document: dict[str, Any], active: bool, completed: bool) -> None:
    things = things_of(document, Choices(take_active=active, take_completed=completed))
    assert len(things) == 1 or "repeating" in {thing.source_state for thing in things}
    for thing in things:
        assert_whole(thing)


def assert_whole(found: Foreign) -> None:
    assert found.source_id.isprintable()
    assert (found.spec is None) == (found.verdict in (Verdict.LEFT, Verdict.REFUSED))
    assert found.job is None or found.schedule is None
    assert all(why and why.isprintable() and len(why) < 1000 for why in found.why)
    assert bool(found.why) == (found.verdict is not Verdict.TAKEN)
    job = found.job
    if job is None:
        return
    assert TYPE.match(job.spec.type)
    assert 1 <= len(job.job_id) <= limits.JOB_ID_CHARACTERS
    assert job.state in {State.SCHEDULED, State.WAITING, State.FAILED, State.COMPLETED}
    times = [job.create_time, job.schedule_time, job.start_time, job.end_time, *(error.time for error in job.errors)]
    assert all(limits.FIRST_TIME <= time <= limits.LAST_TIME for time in times if time is not None)
    assert 0 <= job.failures < 2**31
    assert 0 <= job.attempt < 2**31
    assert job.state is not State.FAILED or job.errors
    assert (job.end_time is not None) == (job.state in (State.FAILED, State.COMPLETED))
    assert job.spec.terms.retention.failed_for <= limits.MAX_RETENTION
    if job.spec.payload is not None:
        acceptable(job.spec.payload)


@given(documents(), st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=5))
def test_any_bytes_become_something(document: dict[str, Any], changes: list[tuple[int, int]]) -> None:
    raw = bytearray(bson.encode(document))
    for at, byte in changes:
        raw[at % len(raw)] = byte
    for found in things_of(bytes(raw), ALL):
        assert found.source_id.isprintable()
        assert (found.spec is None) == (found.verdict in (Verdict.LEFT, Verdict.REFUSED))
