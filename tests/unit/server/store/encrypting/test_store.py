"""What an encrypting store keeps, refuses, and goes on with when keys change (store/encrypting)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from contract.builders import HOUR, a_draft, a_spec, added, claimed, claimed_one, failed, finished, good, read
from tocsin_server.domain.commands import UpdateJob
from tocsin_server.domain.errors import CannotDecrypt, KeyMissing
from tocsin_server.domain.job import Draft, Job, OnConflict, Payload, View
from tocsin_server.domain.lease import AttemptOutcome, Ending, Extension
from tocsin_server.domain.logs import LogLine
from tocsin_server.domain.schedules.standing import Schedule, ScheduleSpec
from tocsin_server.domain.schedules.timing import Every, Timing
from tocsin_server.domain.states import State
from tocsin_server.operations.reencrypting import reencrypt
from tocsin_server.store.encrypting.keyring import create_keyring
from tocsin_server.store.encrypting.resealing import Resealer, Resealing
from tocsin_server.store.encrypting.store import EncryptingStore
from tocsin_server.store.interface import JobStore, StoreUnfit
from tocsin_server.store.sealed_store import Resealed
from unit.server.store.encrypting.conftest import Encrypted

MINUTE = timedelta(minutes=1)
MARKED = "4111-marked-and-secret"


def marks() -> Iterator[str]:
    """One that is like no other, wherever something is said."""
    yield from (f"{MARKED}-{number:02}" for number in range(100))


async def lived_in(store: JobStore) -> list[str]:
    """Say a marked text in every place that is encrypted; the marks."""
    mark, said = marks(), []

    def another() -> str:
        said.append(next(mark))
        return said[-1]

    def payload() -> Payload:
        return Payload(10, another().encode())

    await added(store, a_draft("waits", when=HOUR, payload=payload()), a_draft(None, when=HOUR, payload=payload()))
    changed = UpdateJob("waits", payload=payload())
    said.pop(-3)  # the first payload of `waits`, which is gone
    [_] = [good(one) for one in await store.update("q", [changed])]
    await added(store, a_draft("ran", payload=payload()))
    one = await claimed_one(store)
    await finished(store, failed(one, retry_in=timedelta(0), message=another(), trace=another()))
    one = await claimed_one(store)
    lines = (LogLine(2, another()), LogLine(3, another()))
    [_] = [good(answer) for answer in await store.extend([Extension(one.lease, (0.5, another()), lines)], MINUTE)]
    await finished(store, AttemptOutcome(one.lease, Ending.COMPLETED, result=another().encode()))
    now = await store.ping()
    assert await store.write_note("q", "booking/1", another().encode(), revision=0, until=now + HOUR)
    spec = ScheduleSpec("q", "nightly", Timing(Every(HOUR)), a_spec(payload=payload()), note=another())
    schedule = Schedule(spec, now, now + HOUR)
    assert await store.schedules.put_schedule(schedule)
    return said


async def shown(store: JobStore) -> dict[str, Any]:
    """All that it holds, as callers see it."""
    jobs = {job.job_id: job for job in (await store.get("q", ["waits", "ran"], View.FULL)) if job is not None}
    page = await store.logs("q", "ran")
    [schedule] = await store.schedules.schedules("q")
    notes = [(note.key, note.value) for note in await store.notes("q")]
    return {"jobs": jobs, "lines": page and page.lines, "schedule": schedule.spec, "notes": notes}


def raw(encrypted: Encrypted, but: bytes = b"nothing") -> bytes:
    """All bytes that the provider holds, but for what stands under such keys."""
    found = encrypted.provider.contents().items()
    return b"\n".join(part for key, value in found if not key.startswith(but) for part in (key, value))


async def test_nothing_that_was_said_stands_in_the_store(encrypted: Encrypted) -> None:
    async with encrypted.keyed() as store:
        said = await lived_in(store)
        assert len(said) == 12
        assert MARKED.encode() not in raw(encrypted)
        seen = repr(await shown(store))
        assert [mark for mark in said if mark not in seen] == [said[0]]  # whose id is made, and not looked at


async def test_without_keys_all_of_it_stands_there(encrypted: Encrypted) -> None:
    """Else the test above could not fail."""
    async with encrypted.bare() as store:
        said = await lived_in(store)
        held = raw(encrypted)
        # In a schedule, payloads are in base64.
        assert len([mark for mark in said if mark.encode() in held]) >= len(said) - 1


async def test_an_encrypted_store_is_refused_without_its_keys(encrypted: Encrypted) -> None:
    async with encrypted.keyed() as store:
        await added(store, a_draft("a", body=b"secret"))
    with pytest.raises(StoreUnfit, match=f"encrypted .*{encrypted.primary}.*encryption.keyring_file"):
        async with encrypted.bare():
            pass
    encrypted.file.unlink()
    create_keyring(encrypted.file)
    with pytest.raises(StoreUnfit, match="is not in the key ring"):
        async with encrypted.keyed():
            pass


async def test_a_store_with_clear_jobs_is_read_and_goes_on_encrypted(encrypted: Encrypted) -> None:
    async with encrypted.bare() as store:
        await lived_in(store)
        before = await shown(store)
    async with encrypted.keyed() as store:
        assert await shown(store) == before
        await added(store, a_draft("new", queue="other", body=b"marked-new"))
        assert b"marked-new" not in raw(encrypted)
        assert (await read(store, "new", queue="other")).spec.payload == Payload(11, b"marked-new")
        await all_anew(store)
        # MongoDB's log of changes has its own copies of messages, until it forgets them (docs/encryption.md).
        assert MARKED.encode() not in raw(encrypted, but=b"jobs.events\0")
        assert await shown(store) == before


# --- what was moved or altered ---


async def moved(store: EncryptingStore, into: str, **parts: Any) -> None:
    """Put other bytes into a job, as somebody could who can write to the store."""
    [stands] = await store.inner.get("q", [into], View.FULL)
    assert stands is not None
    if "payload" in parts:
        parts = {"spec": replace(stands.spec, payload=parts["payload"])}
    assert await store.sealed.reseal("q", [Resealed(stands, replace(stands, **parts))]) == [True]


async def as_stored(store: EncryptingStore, job_id: str) -> Job:
    [found] = await store.inner.get("q", [job_id], View.FULL)
    assert found is not None
    return found


async def test_swapped_payloads_of_two_jobs_are_refused(encrypted: Encrypted) -> None:
    async with encrypted.keyed() as store:
        await added(store, a_draft("a", body=b"to ada"), a_draft("b", body=b"to bob"), a_draft("c", body=b"to cyd"))
        a, b = await as_stored(store, "a"), await as_stored(store, "b")
        await moved(store, "a", payload=b.spec.payload)
        await moved(store, "b", payload=a.spec.payload)
        with pytest.raises(CannotDecrypt, match="payload of 'a' in queue 'q'"):
            await store.get("q", ["a"], View.FULL)
        assert [one.job.job_id for one in await claimed(store)] == ["c"]
        for job_id in ("a", "b"):
            [job] = await store.get("q", [job_id], View.BASIC)
            assert job is not None
            assert job.state is State.FAILED
            [error] = job.errors
            assert error.type == "CANNOT_DECRYPT"
            assert "altered" in error.message


async def test_swapped_fields_of_one_job_are_refused(encrypted: Encrypted) -> None:
    async with encrypted.keyed() as store:
        await added(store, a_draft("a", body=b"payload"))
        one = await claimed_one(store)
        await finished(store, failed(one, retry_in=timedelta(0), message="message", trace="a trace"))
        one = await claimed_one(store)
        await finished(store, AttemptOutcome(one.lease, Ending.COMPLETED, result=b"result"))
        stands = await as_stored(store, "a")
        assert stands.spec.payload is not None
        [error] = stands.errors
        await moved(store, "a", errors=(replace(error, message=error.trace, trace=error.message),))
        with pytest.raises(CannotDecrypt, match="error 1 message"):
            await store.get("q", ["a"], View.FULL)
        [basic] = await store.get("q", ["a"], View.BASIC)
        assert basic is not None
        assert "altered" in basic.errors[0].message
        await moved(store, "a", errors=(error,), result=stands.spec.payload.body)
        with pytest.raises(CannotDecrypt, match="result"):
            await store.get("q", ["a"], View.FULL)


async def test_the_error_of_another_attempt_is_refused(encrypted: Encrypted) -> None:
    async with encrypted.keyed() as store:
        await added(store, a_draft("a", body=b"payload"))
        for message in ("the first", "the second"):
            await finished(store, failed(await claimed_one(store), retry_in=timedelta(0), message=message))
        first, second = (await as_stored(store, "a")).errors
        await moved(store, "a", errors=(replace(first, message=second.message), second))
        with pytest.raises(CannotDecrypt, match="error 1 message"):
            await store.get("q", ["a"], View.FULL)


# --- keys that change ---


async def all_anew(store: EncryptingStore) -> Resealing:
    done = Resealing()
    return await reencrypt(Resealer(store, done), lambda figures: None)


async def test_a_job_whose_key_is_missing_ends_failed_and_names_it(encrypted: Encrypted) -> None:
    old = encrypted.primary
    async with encrypted.keyed() as store:
        await added(store, a_draft("old", body=b"old"))
        new = encrypted.rotated()
        async with encrypted.keyed() as rotated:
            await added(rotated, a_draft("new", body=b"new"))
        encrypted.without(old)
        # This server has read the ring before; it hears of the new key by meeting it, and so of the old one's loss.
        assert (await read(store, "new")).spec.payload == Payload(11, b"new")
        [one] = await claimed(store)
        assert one.job.job_id == "new"
        [job] = await store.get("q", ["old"], View.BASIC)
        assert job is not None
        assert job.state is State.FAILED
        assert [(error.type, old in error.message) for error in job.errors] == [("CANNOT_DECRYPT", True)]
        with pytest.raises(KeyMissing, match=old):
            await store.get("q", ["old"], View.FULL)
        assert await store.sealed.key_id() == new


async def test_words_whose_key_is_missing_are_said_to_be_so(encrypted: Encrypted) -> None:
    old = encrypted.primary
    async with encrypted.keyed() as store:
        await added(store, a_draft("a"))
        one = await claimed_one(store)
        await store.extend([Extension(one.lease, None, (LogLine(2, "a line"),))], MINUTE)
        await finished(store, failed(one, message="secret"))
    encrypted.rotated()
    async with encrypted.keyed() as store:
        encrypted.without(old)
    async with encrypted.keyed() as store:
        [job] = await store.get("q", ["a"], View.BASIC)
        assert job is not None
        hidden = f"(encrypted with key {old}, which is not in this server's key ring)"
        assert job.errors[0].message == hidden
        page = await store.logs("q", "a")
        assert page is not None
        assert [line.text for line in page.lines] == [hidden]


async def test_a_thousand_jobs_are_the_same_after_a_rotation_and_the_old_key_may_go(encrypted: Encrypted) -> None:
    old = encrypted.primary
    async with encrypted.keyed() as store:
        drafts = [a_draft(f"job-{number}", when=HOUR, body=f"body {number}".encode() * 9) for number in range(1_000)]
        await added(store, *drafts)
        await lived_in(store)
        ids = [str(draft.job_id) for draft in drafts]
        before, more = await store.get("q", ids, View.FULL), await shown(store)
        new = encrypted.rotated()
        done = await all_anew(store)
        assert (done.jobs, done.sealed, done.lines, done.notes, done.schedules) == (1_003, 1_003, 2, 1, 1)
        assert (done.left, done.unreadable) == (0, 0)
        again = await all_anew(store)
        assert (again.jobs, again.sealed, again.lines, again.notes, again.schedules) == (1_003, 0, 0, 0, 0)
    encrypted.without(old)
    async with encrypted.keyed() as store:
        assert await store.get("q", ids, View.FULL) == before
        assert await shown(store) == more
        assert await store.sealed.key_id() == new


async def test_what_is_broken_off_is_begun_again_and_does_the_rest(encrypted: Encrypted) -> None:
    async with encrypted.keyed() as store:
        await added(store, *(a_draft(f"job-{number}", when=HOUR, body=b"body") for number in range(450)))
        encrypted.rotated()
        done = Resealing()

        def break_off(figures: Resealing) -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            await reencrypt(Resealer(store, done), break_off)
        assert 0 < done.sealed < 450
        rest = await all_anew(store)
        assert (rest.jobs, done.sealed + rest.sealed) == (450, 450)


async def test_a_job_that_runs_goes_on_while_it_is_encrypted_anew(encrypted: Encrypted) -> None:
    async with encrypted.keyed() as store:
        await added(store, a_draft("a", body=b"payload"))
        one = await claimed_one(store)
        await store.extend([Extension(one.lease, (0.5, "half"), ())], MINUTE)
        encrypted.rotated()
        cursor = await store.cursor("q")
        assert (await all_anew(store)).sealed == 1
        assert (await store.events("q", cursor, wait=timedelta(0))).events == ()
        [answer] = await store.extend([Extension(one.lease, (0.7, "more"), (LogLine(2, "line"),))], MINUTE)
        good(answer)
        await finished(store, AttemptOutcome(one.lease, Ending.COMPLETED, result=b"result"))
        job = await read(store, "a")
        assert (job.spec.payload, job.result) == (Payload(11, b"payload"), b"result")
        assert job.revision == one.job.revision + 3  # twice of its progress, and its end


async def test_a_job_that_changed_since_it_was_read_is_not_written_over(encrypted: Encrypted) -> None:
    async with encrypted.keyed() as store:
        await added(store, a_draft("a", when=HOUR, body=b"before"))
        stands = await as_stored(store, "a")
        [_] = [good(one) for one in await store.update("q", [UpdateJob("a", payload=Payload(11, b"since"))])]
        other = replace(stands, spec=replace(stands.spec, payload=Payload(254, b"x" * 100)))
        assert await store.sealed.reseal("q", [Resealed(stands, other)]) == [False]
        assert (await read(store, "a")).spec.payload == Payload(11, b"since")


async def test_jobs_of_a_schedule_have_its_payload_also_where_the_store_makes_them(encrypted: Encrypted) -> None:
    async with encrypted.keyed() as store:
        now = await store.ping()
        spec = ScheduleSpec("q", "pay@day", Timing(Every(HOUR)), a_spec(payload=Payload(10, b"secret")))
        schedule = Schedule(spec, now, now)
        draft = Draft(spec.job, "pay@day@2026-12-31T08:00:00Z", now, OnConflict.KEEP)
        assert await store.schedules.put_schedule(schedule, [draft])
        assert (await claimed_one(store)).job.spec.payload == Payload(10, b"secret")
        [found] = (await store.schedules.due_schedules("q")).schedules
        assert found.spec == spec
