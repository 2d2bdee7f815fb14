"""What jobs of Bull and BullMQ may be told when they are added: retries, timeout, retention, names, data."""

from __future__ import annotations

from datetime import timedelta

import pytest
from tocsin_server.domain.job import Retention
from tocsin_server.domain.retry import Backoff, RetryPolicy
from tocsin_server.migrate.systems.bull.jobs import NOT_HELD_BACK, OTHER_ID
from tocsin_server.migrate.systems.bull.json_text import NO_OBJECT, NOT_EXACT, TOO_LARGE
from tocsin_server.migrate.systems.foreign import Verdict

from integration.migration.bull.conftest import Play, Read
from integration.migration.bull.looking import by_name, data_of, job_of

SYSTEMS = pytest.mark.parametrize("system", ["bull", "bullmq"])
MS = timedelta(milliseconds=1)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
MONTH = 30 * DAY


async def test_retries_of_bull(play: Play, read: Read) -> None:
    play("bull", "options")
    found = by_name(await read("bull"))
    policies = {name: job_of(thing).spec.terms.retry for name, thing in found.items()}
    assert policies["fixed"] == RetryPolicy(4, Backoff.FIXED, 1500 * MS, HOUR, 0)
    assert policies["at-once"] == RetryPolicy(2, Backoff.FIXED, MS, HOUR, 0)
    assert policies["once"] == RetryPolicy(max_attempts=1)
    # Bull waits 1.5, 4.5, 10.5 s.
    assert policies["exponential"] == RetryPolicy(4, Backoff.EXPONENTIAL, 3000 * MS, MONTH, 0)
    assert policies["custom"] == RetryPolicy(3)
    assert policies["many"].max_attempts == 100
    assert [found[name].verdict for name in ("fixed", "at-once", "once")] == [Verdict.TAKEN] * 3
    assert [len(found[name].why) for name in ("exponential", "custom", "many")] == [1, 1, 3]


async def test_retries_of_bullmq(play: Play, read: Read) -> None:
    play("bullmq", "options")
    found = by_name(await read("bullmq"))
    policies = {name: job_of(thing).spec.terms.retry for name, thing in found.items() if job_of(thing)}
    assert policies["fixed"] == RetryPolicy(4, Backoff.FIXED, 1500 * MS, HOUR, 0)
    assert policies["exponential"] == RetryPolicy(4, Backoff.EXPONENTIAL, 1500 * MS, MONTH, 0.25)
    assert policies["custom"] == RetryPolicy(3)
    assert {name for name in policies if found[name].verdict is Verdict.CHANGED} == {
        "custom",
        "kept-by-number",
        "deduplicated",
    }


async def test_timeouts(play: Play, read: Read) -> None:
    play("bull", "options")
    found = by_name(await read("bull"))
    assert job_of(found["timeout"]).spec.terms.timeout == 2500 * MS
    assert job_of(found["endless-timeout"]).spec.terms.timeout == MONTH
    assert job_of(found["once"]).spec.terms.timeout is None
    assert (found["timeout"].verdict, found["endless-timeout"].verdict) == (Verdict.TAKEN, Verdict.CHANGED)


@SYSTEMS
async def test_retentions(play: Play, read: Read, system: str) -> None:
    play(system, "options")
    found = by_name(await read(system))
    kept = {name: job_of(thing).spec.terms.retention for name, thing in found.items()}
    assert kept["once"] == Retention(DAY, MONTH)
    assert kept["goes-at-once"] == Retention(timedelta(0), timedelta(0))
    assert kept["kept-by-age"] == Retention(timedelta(minutes=1), HOUR)
    assert kept["kept-by-number"] == Retention(DAY, timedelta(minutes=1) if system == "bull" else MONTH)
    assert len(found["kept-by-number"].why) == 2


@SYSTEMS
async def test_ids_of_ones_own_and_deduplication(play: Play, read: Read, system: str) -> None:
    play(system, "options")
    found = by_name(await read(system))
    assert job_of(found["own-id"]).job_id == "order-7/ü"
    assert found["own-id"].verdict is Verdict.TAKEN
    assert found["debounced" if system == "bull" else "deduplicated"].why == (NOT_HELD_BACK,)


async def test_odd_names_change_and_say_to_what(play: Play, read: Read) -> None:
    play("bull", "odd")
    jobs = [thing for thing in await read("bull") if thing.job is not None]
    queues = {job_of(thing).spec.queue for thing in jobs}
    assert len(queues) == 1
    [queue] = queues
    assert queue.startswith("Mails-outgoing-")
    assert all(any(repr(queue) in why for why in thing.why) for thing in jobs)
    types = [job_of(thing).spec.type for thing in jobs]
    assert types[0] == queue  # the job that has no name
    assert types[1] != types[2]
    assert types[1].rpartition("-")[0] == types[2].rpartition("-")[0] == "send-e-mail"
    assert types[3] == "bull.email_notification"
    for thing, kind in list(zip(jobs, types, strict=True))[:4]:
        assert any(repr(kind) in why for why in thing.why)


async def test_ids_that_cannot_be_ids_change_always_in_the_same_way(play: Play, read: Read) -> None:
    play("bull", "odd")
    first, second = await read("bull"), await read("bull")
    ids = [job_of(thing).job_id for thing in first if thing.job is not None]
    assert ids == [job_of(thing).job_id for thing in second if thing.job is not None]
    assert len(set(ids)) == len(ids)
    assert [OTHER_ID in thing.why for thing in first[-3:]] == [True, True, False]
    broken, long, like_a_key = ids[-3:]
    assert broken.startswith("a-b-")
    assert long.startswith("iiiiiiii")
    assert len(long) < 200
    assert like_a_key == "wait:id"


async def test_data_of_all_kinds(play: Play, read: Read) -> None:
    play("bull", "odd")
    things = {thing.source_id: thing for thing in await read("bull")}

    def data(source_id: str) -> object:
        return data_of(job_of(things[source_id]))

    assert data("2") == {"to": "ada"}
    assert data("5") == ("application/json", b'"just text"')
    assert data("6") == ("application/json", b"[1,2,3]")
    assert NO_OBJECT in things["5"].why
    assert data("7") == {"whole": 2.0**53, "big": 1e300, "small": 5e-324, "half": 0.1, "minus": 0}
    assert data("8") == ("application/json", '{"broken":"\\ud800","whole":"😀"}'.encode())
    assert NOT_EXACT in things["8"].why
    assert data("9") == ("application/json", b"[" * 60 + b"]" * 60)
    assert data("10") == {}
    assert data("11") == {"text": "x" * 200_000}
    assert things["12"].verdict is Verdict.REFUSED
    assert things["12"].why == (TOO_LARGE,)


async def test_jobs_without_a_name_have_their_queues_unless_others_are_called_so(play: Play, read: Read) -> None:
    play("bull", "unnamed")
    types = {(thing.queue, thing.source_id): job_of(thing).spec.type for thing in await read("bull")}
    assert types["mails", "1"] == "mails"
    assert types["mails", "2"] == "letter"
    assert types["both", "2"] == "both"
    assert types["both", "1"] not in ("both", "__default__")
    assert types["both", "1"].startswith("both-no-name-")
