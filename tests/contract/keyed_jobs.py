"""Jobs of one key, as the tests of these ask for them."""

from __future__ import annotations

from datetime import timedelta

from tocsin_server.domain.conditions import Collapse, CollapseMode, Conditions
from tocsin_server.domain.job import Added, Draft, New, OnConflict
from tocsin_server.domain.lease import Claimed
from tocsin_server.domain.states import State
from tocsin_server.store.interface import JobStore

from contract.builders import (
    NOW,
    a_draft,
    claimed_one,
    good,
    read,
)

KEEP, REPLACE, THROTTLE, DEBOUNCE, RUN_AGAIN_AFTER = CollapseMode


def keyed(
    mode: CollapseMode,
    job_id: str | None = None,
    *,
    key: str = "k",
    window: timedelta = NOW,
    max_wait: timedelta | None = None,
    body: bytes = b"",
    when: timedelta = NOW,
    type: str = "t",
    queue: str = "q",
    on_conflict: OnConflict = OnConflict.FAIL,
    priority: int = 0,
) -> Draft:
    collapse = Collapse(key, mode, window, max_wait)
    return a_draft(
        job_id,
        when=when,
        body=body,
        type=type,
        queue=queue,
        on_conflict=on_conflict,
        priority=priority,
        conditions=Conditions(collapse=collapse),
    )


async def did(store: JobStore, draft: Draft) -> tuple[type[Added], str]:
    """What adding it did, and to which job."""
    [answer] = await store.add([draft])
    done = good(answer)
    job_id = done.job_id if isinstance(done, New) else done.job.job_id
    return type(done), job_id


async def body_of(store: JobStore, job_id: str) -> bytes:
    payload = (await read(store, job_id)).spec.payload
    return b"" if payload is None else payload.body


async def passed(store: JobStore, by: timedelta) -> None:
    await store.move_clock(await store.ping() + by)


async def states(store: JobStore) -> dict[State, int]:
    figures = await store.figures("q")
    return {state: figures.total(state) for state in State if figures.total(state)}


async def begun(store: JobStore, *drafts: Draft) -> Claimed:
    """The job of these drafts, which are one, as it runs."""
    await store.add(drafts)
    return await claimed_one(store)
