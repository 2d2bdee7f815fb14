"""What no library would write, and a Redis may hold all the same: nothing raises, and what is broken is named."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.redis_backend import RedisBackend
from tocsin_server.domain.states import State
from tocsin_server.migrate.systems.bull.jobs import LONG_AGO, NO_TIME
from tocsin_server.migrate.systems.bull.json_text import TOO_LARGE
from tocsin_server.migrate.systems.bull.reader import connected
from tocsin_server.migrate.systems.bull.record import BROKEN_STACKS, CLAMPED, FIELDS, NO_OPTIONS
from tocsin_server.migrate.systems.foreign import Foreign, Verdict

from integration.migration.bull.conftest import Read
from integration.migration.bull.looking import data_of, job_of

SYSTEMS = pytest.mark.parametrize("system", ["bull", "bullmq"])
NOW_MS = int(datetime.now(UTC).timestamp() * 1000)
SOUND: Mapping[str, Any] = {"name": "work", "data": '{"a":1}', "opts": "{}", "timestamp": NOW_MS}

_LONG = json.dumps("é" * 200_000)


def put(source: RedisBackend, system: str, key: str = "wait", job_id: str | bytes = "1", **fields: Any) -> None:
    """A job of queue "q" with these fields beside, or in place of, sound ones (None: without it), in one list."""
    raw = job_id.encode() if isinstance(job_id, str) else job_id
    client = source.client
    client.set("bull:q:id", 9)
    if system == "bullmq":
        client.hset("bull:q:meta", mapping={"version": "bullmq:6.7.0"})
    held: Any = {name: value for name, value in {**SOUND, **fields}.items() if value is not None}
    if held:
        client.hset(b"bull:q:" + raw, mapping=held)
    if key in ("wait", "active", "paused"):
        client.lpush(f"bull:q:{key}", raw)
    else:
        client.zadd(f"bull:q:{key}", {raw: NOW_MS if key != "delayed" else NOW_MS * 4096})


async def only(read: Read, system: str, **choices: Any) -> Foreign:
    """The one thing that is found."""
    [found] = await read(system, **choices)
    return found


@SYSTEMS
@pytest.mark.parametrize(
    ("fields", "why"),
    [
        (dict.fromkeys(SOUND), "its record is gone: only its id stands"),
        ({"data": None}, "its record is broken: it has no data"),
        ({"data": '{"a":'}, "its data is broken JSON"),
        ({"data": ""}, "its data is broken JSON"),
        ({"data": '{"a": NaN}'}, "its data is broken JSON"),
        ({"data": b'{"a":"\xff"}'}, "its data is not UTF-8"),
        ({"opts": "{"}, "its options are broken JSON"),
        ({"opts": b'{"a":"\xff"}'}, "its options are broken JSON"),
    ],
)
async def test_what_could_not_run_there_is_refused(
    read: Read, source: RedisBackend, system: str, fields: dict[str, Any], why: str
) -> None:
    put(source, system, **fields)
    thing = await only(read, system)
    assert (thing.verdict, thing.source_id, thing.why) == (Verdict.REFUSED, "1", (why,))


@SYSTEMS
@pytest.mark.parametrize("size", [9 << 20, (1 << 20) - 400])
async def test_a_job_of_megabytes_is_refused_and_its_neighbours_are_not(
    read: Read, source: RedisBackend, system: str, size: int
) -> None:
    for job_id in ("1", "2", "3"):
        put(source, system, job_id=job_id, data=json.dumps({"a": "x" * (size if job_id == "2" else 200_000)}))
    found = {thing.source_id: thing.verdict for thing in await read(system)}
    assert found == {"1": Verdict.TAKEN, "2": Verdict.REFUSED, "3": Verdict.TAKEN}


async def test_of_what_cannot_be_a_job_not_even_the_data_is_read(read: Read, source: RedisBackend) -> None:
    put(source, "bull", data="{" + " " * (9 << 20) + "}")  # small, once read
    assert (await only(read, "bull")).why == (TOO_LARGE,)


async def test_some_megabytes_are_read_at_once(source: RedisBackend) -> None:
    sizes = [3, 2, 1, 1, 1, 1, 5, 0]
    for number, size in enumerate(sizes):
        put(source, "bull", job_id=str(number), data=json.dumps("x" * (size << 20)))
    async with connected(source.url) as opened:
        ids = [(str(number).encode(), 0.0) for number in range(len(sizes))]
        batches = [len(some) async for some in opened.records(b"bull:q:", ids, [b"data"])]
    assert batches == [1, 2, 3, 1, 1]


@SYSTEMS
async def test_a_job_whose_key_is_like_a_queues_makes_no_queue(read: Read, source: RedisBackend, system: str) -> None:
    for job_id in ("x:wait", "x:id", "x:failed", "x:meta"):
        put(source, system, job_id=job_id)
    assert {thing.verdict for thing in await read(system)} == {Verdict.TAKEN}


@SYSTEMS
async def test_keys_of_another_kind_are_named_and_the_rest_is_read(
    read: Read, source: RedisBackend, system: str
) -> None:
    put(source, system)
    put(source, system, job_id="2")
    source.client.delete("bull:q:2")
    source.client.set("bull:q:2", "not a job")
    for key in ("active", "paused", "delayed", "failed", "completed", "repeat", "priority", "prioritized"):
        source.client.set(f"bull:q:{key}", "not a list")
    found = await read(system)
    refused = {thing.source_id for thing in found if thing.verdict is Verdict.REFUSED}
    own = {"prioritized"} if system == "bullmq" else set()
    lists = {"active", "paused", "delayed", "failed", "completed", "repeat"} | own
    assert refused == {"2"} | {f"bull:q:{key}" for key in lists}
    assert [thing.source_id for thing in found if thing.job is not None] == ["1"]


@SYSTEMS
@pytest.mark.parametrize("timestamp", ["NaN", "1e30", "-5", "inf", "now", "", None, "1e400"])
async def test_an_unreadable_time_is_now(read: Read, source: RedisBackend, system: str, timestamp: str | None) -> None:
    put(source, system, timestamp=timestamp)
    thing = await only(read, system)
    assert thing.why == (NO_TIME,)
    assert datetime.now(UTC) - job_of(thing).create_time < timedelta(minutes=1)


@SYSTEMS
@pytest.mark.parametrize(
    ("score", "verdict"),
    [("inf", Verdict.REFUSED), (1e30, Verdict.REFUSED), (-1e30, Verdict.TAKEN), (0, Verdict.TAKEN)],
)
async def test_delays_beyond_all_time(
    read: Read, source: RedisBackend, system: str, score: str | float, verdict: Verdict
) -> None:
    put(source, system, "delayed")
    source.client.zadd("bull:q:delayed", {"1": float(score)})
    assert (await only(read, system)).verdict is verdict


@SYSTEMS
async def test_a_negative_delay_is_none(read: Read, source: RedisBackend, system: str) -> None:
    put(source, system, opts='{"delay":-5000}', delay="-5000")
    job = job_of(await only(read, system))
    assert job.schedule_time == job.create_time


@SYSTEMS
async def test_what_was_counted_beyond_all_counting_is_clamped(read: Read, source: RedisBackend, system: str) -> None:
    attempts = {"attemptsMade" if system == "bull" else "atm": "1e300", "stc": "99999999999", "ats": "1e19"}
    put(source, system, "failed", opts='{"attempts":1e300,"backoff":{"type":"exponential","delay":1e300}}', **attempts)
    thing = await only(read, system)
    job = job_of(thing)
    assert (job.spec.terms.retry.max_attempts, job.failures) == (100, 65_535)
    assert CLAMPED in thing.why


@SYSTEMS
@pytest.mark.parametrize(
    ("opts", "why"),
    [
        ("5", NO_OPTIONS),
        ('["attempts"]', NO_OPTIONS),
        ('{"attempts":"three","backoff":[1],"timeout":{},"delay":null,"removeOnComplete":"x"}', None),
        ('{"attempts":true,"backoff":"soon","removeOnFail":[],"lifo":0}', None),
        ("[" * 50_000 + "]" * 50_000, NO_OPTIONS),
    ],
    ids=["a number", "a list", "wrong kinds", "more wrong kinds", "a well"],
)
async def test_options_of_no_use_say_nothing(
    read: Read, source: RedisBackend, system: str, opts: str, why: str | None
) -> None:
    put(source, system, opts=opts)
    thing = await only(read, system)
    assert thing.why == ((why,) if why else ())
    assert job_of(thing).spec.terms.retry.max_attempts == 1


@SYSTEMS
@pytest.mark.parametrize("stacks", ["[", '"x"', "[1,2]", '{"a":1}', b'["\xff"]'])
async def test_broken_stacks_lose_themselves_alone(
    read: Read, source: RedisBackend, system: str, stacks: str | bytes
) -> None:
    put(source, system, "failed", stacktrace=stacks, failedReason="it broke", finishedOn=NOW_MS)
    thing = await only(read, system)
    assert thing.why == (BROKEN_STACKS,)
    assert [error.message for error in job_of(thing).errors] == ["it broke"]


@SYSTEMS
async def test_many_and_long_errors_are_cut(read: Read, source: RedisBackend, system: str) -> None:
    stacks = [f"Error: {n} {'é' * 3_000}\n    at x\n{'y' * 20_000}" for n in range(25)]
    put(source, system, "failed", stacktrace=json.dumps(stacks), attemptsMade=25, atm=25)
    errors = job_of(await only(read, system)).errors
    assert [error.message.partition(" ")[0] for error in errors] == ["0", *map(str, range(16, 25))]
    assert [error.attempt for error in errors] == [1, *range(17, 26)]


@SYSTEMS
@pytest.mark.parametrize("value", ["{", _LONG, '{"a":1e999}', "null", '{"n":123456789012345678901234567890}'])
async def test_results_that_cannot_be_kept_are_told(read: Read, source: RedisBackend, system: str, value: str) -> None:
    put(source, system, "completed", returnvalue=value, finishedOn=NOW_MS)
    thing = await only(read, system, take_completed=True)
    lost = value in ("{", _LONG)
    assert (job_of(thing).result is None) == (lost or value == "null")
    assert (thing.verdict is Verdict.CHANGED) == lost


@SYSTEMS
async def test_an_end_beyond_all_time_is_now(read: Read, source: RedisBackend, system: str) -> None:
    put(source, system, "failed", finishedOn="5")
    thing = await only(read, system)
    assert thing.why == (LONG_AGO,)


@SYSTEMS
@pytest.mark.parametrize("job_id", [b"\xff\xfe", b"", b"a\x00b", b"i" * 100_000, "é".encode() * 400, b"../..", b" "])
async def test_ids_of_any_bytes(read: Read, source: RedisBackend, system: str, job_id: bytes) -> None:
    put(source, system, job_id=job_id)
    thing = await only(read, system)
    assert thing.job is not None
    assert (thing.verdict is Verdict.TAKEN) == (job_id in (b"../..", b" "))


async def test_names_of_any_bytes(read: Read, source: RedisBackend) -> None:
    put(source, "bull", name=b"\xff\x00" * 5_000)
    thing = await only(read, "bull")
    assert len(job_of(thing).spec.type) <= 100
    assert thing.verdict is Verdict.CHANGED


async def test_a_queue_whose_name_is_no_text(read: Read, source: RedisBackend) -> None:
    client = source.client
    client.set(b"bull:\xff:id", 1)
    client.lpush(b"bull:\xff:wait", "1")
    client.hset(b"bull:\xff:1", mapping={"data": "{}", "opts": "{}", "timestamp": NOW_MS})
    thing = await only(read, "bull")
    assert (thing.queue, thing.verdict) == ("\\xff", Verdict.CHANGED)


async def test_deep_data_is_kept_as_it_is(read: Read, source: RedisBackend) -> None:
    for job_id, depth in (("1", 31), ("2", 33), ("3", 100_000)):
        put(source, "bull", job_id=job_id, data='{"a":' * depth + "1" + "}" * depth)
    found = {thing.source_id: data_of(job_of(thing)) for thing in await read("bull")}
    assert isinstance(found["1"], dict)
    assert isinstance(found["2"], tuple)
    assert found["3"] == ("application/json", b'{"a":' * 100_000 + b"1" + b"}" * 100_000)


@pytest.mark.parametrize("number", ["9007199254740993", "0.12345678901234567890123", "1e400", "9" * 5_000])
async def test_numbers_that_no_double_holds_are_kept_as_text(read: Read, source: RedisBackend, number: str) -> None:
    put(source, "bull", data=f'{{"n":{number}}}')
    assert data_of(job_of(await only(read, "bull"))) == ("application/json", f'{{"n":{number}}}'.encode())


async def test_markers_that_wake_workers_are_no_jobs(read: Read, source: RedisBackend) -> None:
    put(source, "bullmq")
    source.client.rpush("bull:q:wait", "0:1764172800000")
    source.client.lpush("bull:q:active", "0:0")
    assert (await only(read, "bullmq")).source_id == "1"


_SETTING = st.dictionaries(
    st.sampled_from("type delay jitter age count key".split()), st.floats() | st.sampled_from(["fixed", "exponential"])
)
_ANYTHING = st.one_of(
    st.binary(max_size=40),
    st.floats().map(lambda number: repr(number).encode()),
    st.integers().map(lambda number: str(number).encode()),
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=8),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
        max_leaves=8,
    ).map(lambda value: json.dumps(value).encode()),
    st.dictionaries(
        st.sampled_from("attempts backoff delay priority lifo repeat timeout removeOnComplete removeOnFail de".split()),
        st.none() | st.booleans() | st.floats() | st.integers() | _SETTING,
    ).map(lambda value: json.dumps(value).encode()),
)


@SYSTEMS
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    fields=st.dictionaries(st.sampled_from(FIELDS), _ANYTHING, min_size=1),
    key=st.sampled_from(["wait", "active", "delayed", "failed", "completed", "prioritized"]),
    score=st.floats(allow_nan=False),
    job_id=st.binary(max_size=20),
)
async def test_nothing_raises_whatever_stands_there(
    read: Read, source: RedisBackend, system: str, fields: dict[str, bytes], key: str, score: float, job_id: bytes
) -> None:
    source.client.flushall()
    put(source, system, key, job_id=b"j" + job_id, **fields)
    if key not in ("wait", "active"):
        source.client.zadd(f"bull:q:{key}", {b"j" + job_id: score})
    found = await read(system, take_active=True, take_completed=True)
    if (system, key) == ("bull", "prioritized"):  # Bull has no such key: BullMQ's it is, and is told so
        assert [thing.verdict for thing in found] == [Verdict.LEFT]
        return
    assert len(found) == 1
    for thing in found:
        assert thing.verdict is not Verdict.LEFT or thing.source_state == "delayed"
        assert thing.job is None or thing.job.state is not State.SCHEDULED or key == "delayed"
