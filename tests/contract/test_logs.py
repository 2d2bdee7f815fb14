"""JobStore.logs, and the lines that JobStore.extend keeps."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

import pytest
from tocsin_server.domain import limits
from tocsin_server.domain.commands import RetryJob
from tocsin_server.domain.errors import InvalidFields
from tocsin_server.domain.job import OnConflict, Retention
from tocsin_server.domain.job_errors import LeaseLost
from tocsin_server.domain.lease import Extension, Lease
from tocsin_server.domain.logs import LoggedLine, LogLine
from tocsin_server.store.interface import JobStore

from contract.builders import (
    HOUR,
    MINUTE,
    NOW,
    a_draft,
    a_job,
    added,
    all_extended,
    claimed_one,
    completed,
    failed,
    finished,
    read,
    refused,
    released,
)
from contract.conftest import Contents
from contract.providers import Provider

INFO = 2


async def write(store: JobStore, lease: Lease, *texts: str, level: int = INFO) -> None:
    said = Extension(lease, log=tuple(LogLine(level, text) for text in texts))
    assert all_extended(await store.extend([said], MINUTE))


async def lines(store: JobStore, job_id: str = "a", *, attempt: int = 0) -> list[LoggedLine]:
    """All lines, over all pages."""
    found: list[LoggedLine] = []
    cursor, more = "", True
    while more:
        page = await store.logs("q", job_id, attempt=attempt, cursor=cursor)
        assert page is not None
        found += page.lines
        cursor, more = page.cursor, page.more
    return found


def texts(found: Sequence[LoggedLine]) -> list[str]:
    return [f"dropped {line.dropped}" if line.dropped else line.text for line in found]


def log_records(contents: Mapping[bytes, bytes]) -> list[bytes]:
    """What a store holds of logs."""
    return [name for name in contents if name.startswith((b"tests:{q}:l", b"jobs.logs\0"))]


async def test_a_job_that_wrote_nothing_has_no_lines(store: JobStore, contents: Contents) -> None:
    await added(store, a_draft("a"))
    one = await claimed_one(store)
    await store.extend([Extension(one.lease, (0.5, "half"))], MINUTE)
    page = await store.logs("q", "a")
    assert page is not None
    assert (page.lines, page.more) == ((), False)
    assert log_records(contents()) == []


async def test_of_no_job_there_is_no_log(store: JobStore) -> None:
    assert await store.logs("q", "a") is None
    await added(store, a_draft("a"))
    assert await store.logs("other", "a") is None
    assert await store.logs("q", "b") is None


async def test_lines_come_back_as_they_were_written(store: JobStore, provider: Provider) -> None:
    await added(store, a_draft("a"))
    one = await claimed_one(store)
    before = await store.ping()
    await write(store, one.lease, "dr\u00fcben \0 \U0001f514", level=4)
    await write(store, one.lease, "", "third", level=1)
    after = await store.ping()
    async with provider.store() as other:
        found = await lines(other)
    assert [(line.attempt, line.level, line.text, line.dropped) for line in found] == [
        (1, 4, "dr\u00fcben \0 \U0001f514", 0),
        (1, 1, "", 0),
        (1, 1, "third", 0),
    ]
    # A store may tell the time by what it heard last, and be a little late.
    assert all(before - MINUTE < line.time <= after for line in found)


async def test_a_lone_surrogate_becomes_a_question_mark(store: JobStore) -> None:
    await added(store, a_draft("a"))
    one = await claimed_one(store)
    await write(store, one.lease, "half \ud83d of it")
    assert texts(await lines(store)) == ["half ? of it"]


async def test_the_end_of_a_long_line_is_cut_off_between_characters(store: JobStore) -> None:
    await added(store, a_draft("a"))
    one = await claimed_one(store)
    await write(store, one.lease, "x" + "\u20ac" * limits.LOG_LINE_BYTES, "y" * limits.LOG_LINE_BYTES)
    cut, whole = texts(await lines(store))
    assert cut == "x" + "\u20ac" * ((limits.LOG_LINE_BYTES - 1) // 3)
    assert whole == "y" * limits.LOG_LINE_BYTES


async def test_several_extensions_of_a_call_are_taken_in_order(store: JobStore) -> None:
    await added(store, a_draft("a"), a_draft("b"))
    leases = {one.job.job_id: one.lease for one in [await claimed_one(store), await claimed_one(store)]}
    said = [("a", "1"), ("b", "2"), ("a", "3"), ("a", "4")]
    answers = await store.extend([Extension(leases[job], log=(LogLine(INFO, text),)) for job, text in said], MINUTE)
    assert all_extended(answers)
    assert texts(await lines(store)) == ["1", "3", "4"]
    assert texts(await lines(store, "b")) == ["2"]


async def test_who_lost_its_lease_writes_nothing(store: JobStore, contents: Contents) -> None:
    await added(store, a_draft("a"))
    first = await claimed_one(store)
    await finished(store, released(first))
    second = await claimed_one(store)
    before = contents()
    [answer] = await store.extend([Extension(first.lease, log=(LogLine(INFO, "late"),))], MINUTE)
    refused(answer, LeaseLost)
    assert contents() == before
    await write(store, second.lease, "mine")
    assert texts(await lines(store)) == ["mine"]


async def test_lines_of_all_attempts_stand_and_each_can_be_asked_for(store: JobStore) -> None:
    await added(store, a_draft("a"))
    for number in range(1, 4):
        one = await claimed_one(store)
        await write(store, one.lease, f"attempt {number}")
        await finished(store, failed(one, NOW))
    assert [line.attempt for line in await lines(store)] == [1, 2, 3]
    assert texts(await lines(store, attempt=2)) == ["attempt 2"]
    assert await lines(store, attempt=9) == []


async def test_a_retry_keeps_them(store: JobStore) -> None:
    await added(store, a_draft("a"))
    one = await claimed_one(store)
    await write(store, one.lease, "first")
    await finished(store, failed(one))
    await store.update("q", [RetryJob("a")])
    two = await claimed_one(store)
    await write(store, two.lease, "second")
    assert texts(await lines(store)) == ["first", "second"]


async def test_a_cursor_goes_on_with_what_comes_later(store: JobStore) -> None:
    await added(store, a_draft("a"))
    one = await claimed_one(store)
    page = await store.logs("q", "a")
    for text in ("1", "2", "3"):
        assert page is not None
        assert not page.more
        await write(store, one.lease, text)
        page = await store.logs("q", "a", cursor=page.cursor)
        assert page is not None
        assert texts(page.lines) == [text]


async def test_many_lines_come_in_pages(store: JobStore) -> None:
    await added(store, a_draft("a"))
    one = await claimed_one(store)
    said = [f"{number}" for number in range(limits.LOG_LINES)]
    await write(store, one.lease, *said)
    cursor, found, pages = "", [], 0
    while True:
        page = await store.logs("q", "a", cursor=cursor)
        assert page is not None
        assert len(page.lines) <= limits.LOG_PAGE_LINES
        found += texts(page.lines)
        cursor, pages = page.cursor, pages + 1
        if not page.more:
            break
    assert found == said
    assert pages > 1


@pytest.mark.parametrize("together", [1, 7, 150, pytest.param(700, marks=pytest.mark.full)])
async def test_of_too_many_lines_the_middle_is_dropped(store: JobStore, together: int) -> None:
    await added(store, a_draft("a"))
    one = await claimed_one(store)
    count = limits.LOG_LINES + 3 * together
    said = [f"{number}" for number in range(count)]
    await write(store, one.lease, *said[: limits.LOG_LINES - 3])
    for start in range(limits.LOG_LINES - 3, count, together):
        await write(store, one.lease, *said[start : start + together])
    kept_last = limits.LOG_LINES - limits.LOG_HEAD_LINES
    dropped = count - limits.LOG_LINES
    assert texts(await lines(store)) == [
        *said[: limits.LOG_HEAD_LINES],
        f"dropped {dropped}",
        *said[-kept_last:],
    ]


async def test_of_too_many_bytes_the_middle_is_dropped(store: JobStore) -> None:
    await added(store, a_draft("a"))
    one = await claimed_one(store)
    said = [f"{number}".ljust(limits.LOG_LINE_BYTES, ".") for number in range(100)]
    for start in range(0, 100, 30):
        await write(store, one.lease, *said[start : start + 30])
    most = limits.LOG_BYTES // limits.LOG_LINE_BYTES
    first = limits.LOG_HEAD_BYTES // limits.LOG_LINE_BYTES
    assert texts(await lines(store)) == [*said[:first], f"dropped {100 - most}", *said[first - most :]]


def kept(said: Sequence[str]) -> list[str]:
    """What a job keeps of lines in ASCII: a head, and as much of the end as fits beside it."""
    head, size = 0, 0
    while head < min(len(said), limits.LOG_HEAD_LINES) and size + len(said[head]) <= limits.LOG_HEAD_BYTES:
        size += len(said[head])
        head += 1
    start = len(said)
    while (
        start > head and head + len(said) - start < limits.LOG_LINES and size + len(said[start - 1]) <= limits.LOG_BYTES
    ):
        start -= 1
        size += len(said[start])
    return [*said[:head], *([f"dropped {start - head}"] if start > head else []), *said[start:]]


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.full) for seed in (1, 2, 3))])
async def test_lines_of_any_length_are_kept_alike(store: JobStore, seed: int) -> None:
    chance = random.Random(seed)
    await added(store, a_draft("a"))
    one = await claimed_one(store)
    said: list[str] = []
    for _ in range(12):
        most = chance.choice((0, 10, 500, limits.LOG_LINE_BYTES))
        new = [f"{n}".ljust(chance.randint(0, most), ".") for n in range(len(said), len(said) + chance.randint(1, 200))]
        await write(store, one.lease, *new)
        said += new
        assert texts(await lines(store)) == kept(said)


async def test_who_reads_on_hears_how_much_it_missed(store: JobStore) -> None:
    await added(store, a_draft("a"))
    one = await claimed_one(store)
    said = [f"{number}" for number in range(3 * limits.LOG_LINES)]
    await write(store, one.lease, *said[:500])
    page = await store.logs("q", "a")
    while page is not None and page.more:
        page = await store.logs("q", "a", cursor=page.cursor)
    assert page is not None
    await write(store, one.lease, *said[500:])
    page = await store.logs("q", "a", cursor=page.cursor)
    assert page is not None
    kept_last = limits.LOG_LINES - limits.LOG_HEAD_LINES
    missed = len(said) - kept_last - 500
    assert texts(page.lines) == [f"dropped {missed}", *said[-kept_last:][: limits.LOG_PAGE_LINES]]


async def test_no_place_keeps_lines_of_a_job_that_is_deleted(store: JobStore, contents: Contents) -> None:
    await added(store, a_draft("a"))
    one = await claimed_one(store)
    await write(store, one.lease, "gone")
    await finished(store, completed(one))
    assert len(log_records(contents())) == 1
    assert texts(await lines(store)) == ["gone"]
    assert await store.delete("q", ["a"]) == [None]
    assert log_records(contents()) == []
    assert await store.logs("q", "a") is None


async def test_they_go_with_a_trimmed_job(store: JobStore, contents: Contents) -> None:
    await added(store, a_draft("a", retention=Retention(NOW, HOUR)))
    one = await claimed_one(store)
    await write(store, one.lease, "gone")
    await finished(store, completed(one))
    assert await store.trim("q", completed_max=9, failed_max=9) == 1
    assert log_records(contents()) == []


async def test_a_job_that_is_made_anew_has_its_own(store: JobStore, contents: Contents) -> None:
    await added(store, a_draft("a"))
    one = await claimed_one(store)
    await write(store, one.lease, "old", "older")
    await finished(store, completed(one))
    page = await store.logs("q", "a")
    assert page is not None
    await added(store, a_draft("a", on_conflict=OnConflict.REPLACE))
    assert await lines(store) == []
    assert log_records(contents()) == []
    two = await claimed_one(store)
    await write(store, two.lease, "new", "newer", "newest")
    page = await store.logs("q", "a", cursor=page.cursor)  # of the old one
    assert page is not None
    assert texts(page.lines) == ["new", "newer", "newest"]


@pytest.mark.parametrize("priority", [0, 5])
async def test_a_job_that_is_replaced_in_place_has_none(store: JobStore, contents: Contents, priority: int) -> None:
    await added(store, a_draft("a"))
    one = await claimed_one(store)
    await write(store, one.lease, "old")
    await finished(store, released(one))
    await added(store, a_draft("a", on_conflict=OnConflict.REPLACE, priority=priority))
    assert await lines(store) == []
    assert log_records(contents()) == []
    two = await claimed_one(store)
    await write(store, two.lease, "new")
    assert texts(await lines(store)) == ["new"]


@pytest.mark.parametrize("same_arrival", [True, False])
async def test_a_job_that_is_put_over_another_has_none(store: JobStore, contents: Contents, same_arrival: bool) -> None:
    await added(store, a_draft("a"))
    one = await claimed_one(store)
    await write(store, one.lease, "old")
    await finished(store, completed(one))
    arrival = (await read(store, "a")).arrival
    await store.put([a_job("a", arrival=arrival if same_arrival else arrival + 10)], over=True)
    assert await lines(store) == []
    assert log_records(contents()) == []


async def test_the_check_takes_logs_without_a_job_away(store: JobStore, provider: Provider) -> None:
    empty = set(provider.contents())
    await added(store, a_draft("a"), a_draft("b"))
    for text in ("one", "two"):
        await write(store, (await claimed_one(store)).lease, text)
    found = provider.contents()
    [log] = [name for name in log_records(found) if b"a" in name or name.endswith(b"\x01")]
    provider.put_back({name: value for name, value in found.items() if name == log or name in empty})
    mended, done = 0, False
    while not done:
        checked = await store.check()
        mended, done = mended + checked.mended.get("logs of no job", 0), checked.done
    assert mended == 1
    assert log_records(provider.contents()) == []


async def test_the_check_leaves_logs_of_jobs_alone(store: JobStore, contents: Contents) -> None:
    await added(store, a_draft("a"))
    await write(store, (await claimed_one(store)).lease, "stays")
    for _ in range(10):
        assert (await store.check()).mended == {}
    assert texts(await lines(store)) == ["stays"]


@pytest.mark.parametrize("cursor", ["x", "1", "1.2.3", "-1.2", "1.2 ", "\u0661.2"])
async def test_what_is_no_cursor_is_refused(store: JobStore, cursor: str) -> None:
    await added(store, a_draft("a"))
    with pytest.raises(InvalidFields, match="cursor"):
        await store.logs("q", "a", cursor=cursor)
