"""Loops that are started and stopped, and work that runs to its end."""

from __future__ import annotations

import asyncio

import pytest
from tocsin_server.background import Loop, Unbroken


async def test_a_loop_runs_from_start_to_close() -> None:
    begun, cancelled = asyncio.Event(), asyncio.Event()

    async def run() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    loop = Loop(run, "one")
    assert not loop.ended
    loop.start()
    await begun.wait()
    assert not loop.ended
    await loop.close()
    assert cancelled.is_set()
    assert loop.ended


async def test_a_loop_that_was_never_started_can_be_closed() -> None:
    async def run() -> None:
        raise AssertionError("nobody started it")

    await Loop(run, "one").close()


async def test_a_loop_that_failed_has_ended_and_says_why_when_it_is_closed() -> None:
    failed = asyncio.Event()

    async def run() -> None:
        failed.set()
        raise ValueError("broken")

    loop = Loop(run, "one")
    loop.start()
    await failed.wait()
    await asyncio.sleep(0)
    assert loop.ended
    with pytest.raises(ValueError, match="broken"):
        await loop.close()


async def test_work_goes_on_when_its_caller_is_cancelled_and_closing_waits_for_it() -> None:
    unbroken, begun, gate, done = Unbroken(), asyncio.Event(), asyncio.Event(), list[str]()

    async def work() -> None:
        begun.set()
        await gate.wait()
        done.append("work")

    caller = asyncio.create_task(unbroken.run(work(), then=lambda: done.append("then")))
    await begun.wait()
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    closing = asyncio.create_task(unbroken.close())
    await asyncio.sleep(0)
    assert not closing.done()
    assert done == []
    gate.set()
    await closing
    assert done == ["work", "then"]


async def test_what_work_returns_or_raises_is_its_callers() -> None:
    unbroken, ended = Unbroken(), list[bool]()

    async def good() -> int:
        return 7

    async def bad() -> int:
        raise ValueError("broken")

    assert await unbroken.run(good()) == 7
    with pytest.raises(ValueError, match="broken"):
        await unbroken.run(bad(), then=lambda: ended.append(True))
    assert ended == [True]
    await unbroken.close()
