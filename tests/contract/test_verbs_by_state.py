"""CONTRACT section 4, its table of verbs and states. BLOCKED is a job beside one of its key that runs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from enum import Enum
from typing import Any

import pytest
from tocsin_server.domain.commands import Change, HoldJob, ReleaseJob, RetryJob, RunJob, UpdateJob
from tocsin_server.domain.conditions import CollapseMode
from tocsin_server.domain.errors import TocsinError
from tocsin_server.domain.job import Job, Kept, OnConflict, Replaced, View
from tocsin_server.domain.job_errors import JobActive, JobExists, WrongState
from tocsin_server.domain.states import State
from tocsin_server.store.interface import JobStore

from contract.builders import HOUR, STATES, a_draft, good, read, refused, standing, wish
from contract.conftest import Contents
from contract.keyed_jobs import begun, keyed


class Cell(Enum):
    """What a cell says, where that is no state."""

    PRE = "refused"
    SAME = "answered, and unchanged"
    YES = "changed, in the same state"
    GONE = "deleted"
    ASKED = "running, its cancel asked"
    IN_PLACE = "replaced in place"
    RUNS = "refused, because it runs"
    ANEW = "made anew"
    KEPT = "kept"
    EXISTS = "refused, because it stands"


PRE, SAME, YES, GONE, ASKED = Cell.PRE, Cell.SAME, Cell.YES, Cell.GONE, Cell.ASKED
IN_PLACE, RUNS, ANEW, KEPT, EXISTS = Cell.IN_PLACE, Cell.RUNS, Cell.ANEW, Cell.KEPT, Cell.EXISTS
CANCELLED, WAITING = State.CANCELLED, State.WAITING

#            SCHEDULED  WAITING    ACTIVE    COMPLETED FAILED   CANCELLED
VERBS: Mapping[object, Sequence[Cell | State]] = {
    "Cancel": (CANCELLED, CANCELLED, ASKED, PRE, PRE, SAME),
    "Run": (WAITING, SAME, SAME, PRE, PRE, PRE),
    "Retry": (PRE, SAME, SAME, PRE, WAITING, WAITING),
    "Update": (YES, YES, PRE, PRE, PRE, PRE),
    "Hold": (YES, YES, PRE, PRE, PRE, PRE),
    "Release": (SAME, SAME, SAME, PRE, PRE, PRE),
    "Delete": (PRE, PRE, PRE, GONE, GONE, GONE),
}
ADDING: Mapping[object, Sequence[Cell | State]] = {
    OnConflict.REPLACE: (IN_PLACE, IN_PLACE, RUNS, ANEW, ANEW, ANEW),
    OnConflict.KEEP: (KEPT,) * 6,
    OnConflict.FAIL: (EXISTS,) * 6,
}

Call = Callable[[JobStore], Awaitable[Sequence[Job | TocsinError | None]]]


def _changes(change: Change) -> Call:
    return lambda store: store.update("q", [change])


CALLS: dict[str, Call] = {
    "Cancel": lambda store: store.cancel("q", [wish("a")]),
    "Run": _changes(RunJob("a")),
    "Retry": _changes(RetryJob("a")),
    "Update": _changes(UpdateJob("a", priority=5)),
    "Hold": _changes(HoldJob("a")),
    "Release": _changes(ReleaseJob("a")),
    "Delete": lambda store: store.delete("q", ["a"]),
}


def cells(table: Mapping[object, Sequence[Cell | State]]) -> list[Any]:
    return [
        pytest.param(verb, state, cell, id=f"{getattr(verb, 'name', verb)}-{state.name}")
        for verb, row in table.items()
        for state, cell in zip(STATES, row, strict=True)
    ]


@pytest.mark.parametrize(("verb", "state", "cell"), cells(VERBS))
async def test_a_verb_does_what_the_table_says(
    store: JobStore, contents: Contents, verb: str, state: State, cell: Cell | State
) -> None:
    job, _ = await standing(store, state, "a")
    before = contents()

    [answer] = await CALLS[verb](store)

    [now] = await store.get("q", ["a"], View.FULL)
    if cell is PRE:
        refusal = refused(answer, WrongState)
        assert (refusal.queue, refusal.job_id, refusal.state) == ("q", "a", state)
    if cell is GONE:
        assert answer is None
        assert now is None
        return
    assert now is not None
    if cell in {PRE, SAME}:
        assert contents() == before
        assert now == job
    if cell is SAME:
        assert answer == await read(store, "a", View.BASIC)
    if cell is ASKED:
        assert now.state is State.ACTIVE
        assert now.cancel is not None
    if isinstance(cell, State):
        assert now.state is cell
        assert good(answer) == await read(store, "a", View.BASIC)
    if cell is YES:
        assert now.state is state
        assert now.held or now.spec.priority == 5
    if cell not in {PRE, SAME}:
        assert now.revision > job.revision


#: Of the column BLOCKED, which a job is in while another of its key runs.
BLOCKED_COLUMN: Mapping[str, Cell | State] = {
    "Cancel": CANCELLED,
    "Run": PRE,
    "Retry": PRE,
    "Update": YES,
    "Hold": YES,
    "Release": SAME,
    "Delete": PRE,
}


@pytest.mark.parametrize("verb", BLOCKED_COLUMN)
async def test_a_verb_does_what_the_table_says_to_a_blocked_job(store: JobStore, contents: Contents, verb: str) -> None:
    await begun(store, keyed(CollapseMode.RUN_AGAIN_AFTER, "first"))
    await store.add([keyed(CollapseMode.RUN_AGAIN_AFTER, "a")])
    before, cell = contents(), BLOCKED_COLUMN[verb]
    [answer] = await CALLS[verb](store)
    now = await read(store, "a")
    if cell is PRE:
        assert refused(answer, WrongState).state is State.BLOCKED
    if cell in {PRE, SAME}:
        assert contents() == before
    else:
        assert good(answer) == await read(store, "a", View.BASIC)
        assert now.state is (State.CANCELLED if verb == "Cancel" else State.BLOCKED)


@pytest.mark.parametrize(("mode", "state", "cell"), cells(ADDING))
async def test_adding_an_id_that_stands_does_what_the_table_says(
    store: JobStore, contents: Contents, mode: OnConflict, state: State, cell: Cell | State
) -> None:
    job, _ = await standing(store, state, "a", body=b"old")
    before = contents()

    [answer] = await store.add([a_draft("a", on_conflict=mode, priority=9, body=b"new", when=2 * HOUR)])

    now = await read(store, "a")
    if cell is EXISTS:
        assert refused(answer, JobExists).state is state
    if cell is RUNS:
        assert refused(answer, JobActive).state is State.ACTIVE
    if cell is KEPT:
        assert answer == Kept(await read(store, "a", View.BASIC))
    if cell in {EXISTS, RUNS, KEPT}:
        assert contents() == before
        assert now == job
        return
    assert answer == Replaced(await read(store, "a", View.BASIC))
    assert (now.state, now.spec.priority, now.failures, now.crashes) == (State.SCHEDULED, 9, 0, 0)
    assert (now.errors, now.result, now.cancel, now.end_time) == ((), None, None, None)
    assert now.spec.payload is not None
    assert now.spec.payload.body == b"new"
    if cell is IN_PLACE:
        assert (now.create_time, now.arrival) == (job.create_time, job.arrival)
        assert now.revision > job.revision
    if cell is ANEW:
        assert now.create_time >= job.create_time
        assert now.arrival > job.arrival
        assert (now.attempt, now.start_time) == (0, None)
