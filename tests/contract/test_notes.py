"""JobStore.read_note, write_note, notes."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest
from tocsin_server.domain.errors import StoreFull
from tocsin_server.domain.job import View
from tocsin_server.store.interface import JobStore, Note, StoredNote

from contract.builders import HOUR, LATER, MILLISECOND, SECOND, a_draft, added
from contract.providers import Provider


async def write(
    store: JobStore, value: bytes, revision: int, *, queue: str = "q", key: str = "a", until: datetime = LATER
) -> bool:
    return await store.write_note(queue, key, value, revision=revision, until=until)


async def test_a_note_is_read_as_it_was_written_and_counts_its_writes(store: JobStore) -> None:
    assert await store.read_note("q", "a") is None
    for revision, value in enumerate((b"", b"\0\xff {}", bytes(range(256)) * 64)):
        assert await write(store, value, revision)
        assert await store.read_note("q", "a") == Note(value, revision + 1)


async def test_a_note_is_written_only_over_the_revision_that_was_read(store: JobStore) -> None:
    assert not await write(store, b"none stands", 1)
    assert await store.read_note("q", "a") is None
    assert await write(store, b"first", 0)
    assert await write(store, b"second", 1)
    for revision in (0, 1, 3, 2**40):
        assert not await write(store, b"late", revision)
    assert await store.read_note("q", "a") == Note(b"second", 2)


async def test_of_writers_at_the_same_time_one_wins_each_revision(store: JobStore, provider: Provider) -> None:
    async with provider.store() as other:

        async def count(mine: JobStore) -> int:
            """Add 1 to the note, 20 times; how many tries that took."""
            done = tries = 0
            while done < 20:
                tries += 1
                note = await mine.read_note("q", "n") or Note(b"0", 0)
                done += await write(mine, b"%d" % (int(note.value) + 1), note.revision, key="n")
            return tries

        tries = await asyncio.gather(*(count(one) for one in (store, store, other, other)))
    assert await store.read_note("q", "n") == Note(b"80", 80)
    assert sum(tries) > 80, "they never met"


async def test_each_queue_and_key_has_a_note_of_its_own(store: JobStore) -> None:
    names = [
        ("q", "a"),
        ("q", "b"),
        ("r", "a"),
        ("q", "a/b"),
        ("q.a", ""),
        ("q", "k\u00e4se \U0001f514"),
        ("q", "i" * 208),
    ]
    for at, (queue, key) in enumerate(names):
        assert await write(store, b"%d" % at, 0, queue=queue, key=key)
    found = [await store.read_note(queue, key) for queue, key in names]
    assert found == [Note(b"%d" % at, 1) for at in range(len(names))]


async def test_another_store_sees_what_was_answered(store: JobStore, provider: Provider) -> None:
    async with provider.store() as other:
        for revision in range(5):
            writer, reader = (store, other) if revision % 2 else (other, store)
            assert await write(writer, b"x", revision)
            assert await reader.read_note("q", "a") == Note(b"x", revision + 1)


async def test_a_note_makes_no_queue_and_touches_no_job(store: JobStore) -> None:
    await write(store, b"x", 0)
    assert await store.queues() == []
    [job] = await added(store, a_draft("a"))
    cursor = await store.cursor("q")
    await write(store, b"y", 1)
    assert (await store.get("q", ["a"], View.BASIC))[0] == job
    assert await store.cursor("q") == cursor


async def test_a_time_that_has_passed_and_the_last_of_all_times_are_taken(store: JobStore) -> None:
    last = datetime(9999, 12, 31, 23, 59, 59, 999_000, tzinfo=UTC)
    assert await write(store, b"x", 0, until=last)
    assert await store.read_note("q", "a") == Note(b"x", 1)
    assert await write(store, b"y", 1, until=await store.ping() - SECOND)
    assert await store.read_note("q", "a") in (None, Note(b"y", 2))


async def test_a_full_store_takes_no_new_note(store: JobStore, provider: Provider) -> None:
    with provider.full(), pytest.raises(StoreFull):
        await write(store, b"x", 0)
    assert await store.read_note("q", "a") is None


# --- all of a queue's notes ---


async def test_a_queues_notes_are_found_whole(store: JobStore) -> None:
    until = LATER + MILLISECOND
    await write(store, b"", 0, key="a")
    await write(store, bytes(range(256)) * 40, 0, key="b", until=until)
    await write(store, b"second", 1, key="a", until=until)
    assert await store.notes("q") == [
        StoredNote("a", b"second", 2, until),
        StoredNote("b", bytes(range(256)) * 40, 1, until),
    ]


async def test_each_queues_notes_are_its_own(store: JobStore) -> None:
    assert await store.notes("never") == []
    for queue in ("q", "q.a", "qa", "q-", "Q", "q0", "p"):
        await write(store, queue.encode(), 0, queue=queue)
    await added(store, a_draft("a"), a_draft(queue="q.a"))
    for queue in ("q", "q.a", "qa", "q-", "Q", "q0", "p"):
        assert await store.notes(queue) == [StoredNote("a", queue.encode(), 1, LATER)]


KEYS = [
    "*",
    "A",
    "[a]",
    "a",
    "a/b",
    "a?",
    "aa",
    "booking:42",
    "booking:5",
    "ä",
    "\u20ac",
    "\uffff",
    "\U0001f514",
    "{a}",
]


async def test_notes_come_by_key_and_go_on_after_one(store: JobStore) -> None:
    in_order = sorted(KEYS)
    for key in KEYS[::-1]:
        await write(store, b"x", 0, key=key)
    assert [note.key for note in await store.notes("q")] == in_order
    for limit in (1, 4, len(KEYS), 1_000):
        found: list[str] = []
        while notes := await store.notes("q", after=found[-1] if found else "", limit=limit):
            assert len(notes) == min(limit, len(KEYS) - len(found))
            found += [note.key for note in notes]
        assert found == in_order
    assert [note.key for note in await store.notes("q", after="a!")] == in_order[in_order.index("a/b") :]


async def test_many_notes_are_all_found_and_each_once(store: JobStore) -> None:
    keys = [f"{n:04}" for n in range(250)]  # more than a first answer of MongoDB's has, or a small hash of Redis
    await asyncio.gather(*(write(store, key.encode(), 0, key=key) for key in keys))
    first = await store.notes("q", limit=220)
    assert [note.key for note in first] == keys[:220]
    assert [note.key for note in await store.notes("q", after=first[-1].key)] == keys[220:]


async def test_a_note_whose_time_is_over_is_none(store: JobStore) -> None:
    now = await store.ping()
    await write(store, b"x", 0, key="over", until=now - SECOND)
    await write(store, b"x", 0, key="was to stay", until=now + HOUR)
    await write(store, b"x", 0, key="stays", until=now + HOUR)
    await write(store, b"x", 1, key="was to stay", until=now - SECOND)
    assert await store.notes("q", limit=1) == [StoredNote("stays", b"x", 1, now + HOUR)]
    assert [note.key for note in await store.notes("q")] == ["stays"]
