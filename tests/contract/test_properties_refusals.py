"""A refused call changes nothing: the provider holds the same bytes before and after."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from hypothesis import given
from hypothesis import strategies as st
from tocsin_server.domain import limits
from tocsin_server.domain.commands import RetryJob, RunJob, UpdateJob
from tocsin_server.domain.errors import TocsinError
from tocsin_server.domain.job import OnConflict, Payload, View
from tocsin_server.domain.lease import AttemptOutcome, Ending, Extension, Lease
from tocsin_server.domain.states import State
from tocsin_server.store.interface import JobStore

from contract.builders import HOUR, MINUTE, RAW, STATES, a_draft, added, standing, wish
from contract.conftest import Contents
from contract.properties import a_queue, bounded
from contract.providers import Provider

Call = Callable[[JobStore, str, str], Awaitable[Sequence[object]]]

_states = st.sampled_from(STATES)
_ids = st.one_of(st.sampled_from([state.name for state in STATES]), st.text(max_size=5))
_tokens = st.one_of(st.binary(max_size=20), st.just(bytes(14)))
_extras = st.integers(-5, 5)


@st.composite
def calls(draw: st.DrawFn) -> Call:
    """A call about one job that the store may refuse."""
    number, token = draw(_extras), draw(_tokens)
    ending, mode = draw(st.sampled_from(Ending)), draw(st.sampled_from([OnConflict.FAIL, OnConflict.REPLACE]))
    options: dict[str, Call] = {
        "add": lambda store, queue, job_id: store.add([a_draft(job_id, queue=queue, on_conflict=mode, priority=9)]),
        "cancel": lambda store, queue, job_id: store.cancel(queue, [wish(job_id, reason="x" * 50)]),
        "update": lambda store, queue, job_id: store.update(
            queue, [UpdateJob(job_id, when=HOUR * abs(number), priority=number, payload=Payload(RAW, b"new"))]
        ),
        "revise": lambda store, queue, job_id: store.update(queue, [UpdateJob(job_id, priority=1, revision=number)]),
        "run": lambda store, queue, job_id: store.update(queue, [RunJob(job_id)]),
        "retry": lambda store, queue, job_id: store.update(queue, [RetryJob(job_id)]),
        "delete": lambda store, queue, job_id: store.delete(queue, [job_id]),
        "extend": lambda store, queue, job_id: store.extend(
            [Extension(Lease(queue, job_id, number, token), (0.5, "half"))], MINUTE
        ),
        "finish": lambda store, queue, job_id: store.finish(
            [AttemptOutcome(Lease(queue, job_id, number, token), ending, result=b"x", retry_in=MINUTE)]
        ),
    }
    return draw(st.sampled_from(list(options.values())))


@bounded(150)
@given(state=_states, other=_ids, of_other=st.booleans(), known=st.booleans(), call=calls())
async def test_a_refused_call_changes_nothing(
    store: JobStore, provider: Provider, state: State, other: str, of_other: bool, known: bool, call: Call
) -> None:
    queue = a_queue(provider)
    if known:
        await standing(store, state, state.name, queue=queue, body=b"x", tags={"k": "v"})
    job_id = (other or "x") if of_other else state.name
    before = provider.contents()
    [answer] = await call(store, queue, job_id)
    if isinstance(answer, TocsinError):
        assert provider.contents() == before


async def test_a_refused_type_changes_nothing(store: JobStore, contents: Contents) -> None:
    await added(store, *(a_draft(type=f"t{i}") for i in range(limits.TYPES_PER_QUEUE)))
    before = contents()
    for answer in await store.add([a_draft("a", type="one-more"), a_draft(type="two-more", tags={"k": "v"})]):
        assert isinstance(answer, TocsinError)
    assert contents() == before
    assert await store.get("q", ["a"], View.BASIC) == [None]
