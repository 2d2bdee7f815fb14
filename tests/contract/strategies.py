"""Any job that may have stood elsewhere."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from hypothesis import strategies as st
from tocsin_server.domain import limits
from tocsin_server.domain.conditions import NO_CONDITIONS, Conditions
from tocsin_server.domain.job import Cancel, Job, JobError, JobSpec, Payload, Progress, Retention, Terms
from tocsin_server.domain.retry import Backoff, RetryPolicy
from tocsin_server.domain.states import ENDED, State

from contract.builders import IDLE, INT32, MILLISECOND

_LAST_MS = (limits.LAST_TIME - limits.FIRST_TIME) // MILLISECOND

#: Milliseconds since 1970 that are likely to trip somebody, and any others.
_ms = st.sampled_from([1, 2**31, 2**32, 1_700_000_000_000, _LAST_MS]) | st.integers(1, _LAST_MS)
times: st.SearchStrategy[datetime] = st.builds(lambda ms: limits.FIRST_TIME + ms * MILLISECOND, _ms)
spans: st.SearchStrategy[timedelta] = st.builds(
    lambda ms: ms * MILLISECOND, st.integers(0, limits.MAX_RETENTION // MILLISECOND)
)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
names = st.text("abcXYZ019._-", min_size=1, max_size=12)
_plain_ids = st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=30)
#: Ids as a store makes them: the last 48 bits are an arrival number, here often one that is in use.
_made_ids = st.builds(
    lambda ms, middle, number: f"{ms >> 16:08x}-{ms & 0xFFFF:04x}-8{middle:03x}-8{middle:03x}-{number:012x}",
    st.integers(0, 2**48 - 1),
    st.integers(0, 0xFFF),
    st.integers(0, 8) | st.integers(0, 2**48 - 1),
)
ids = _plain_ids | _made_ids
arrivals = st.integers(0, 8) | st.sampled_from([255, 256, 2**32, 2**46]) | st.integers(0, 2**46)

_payloads = st.none() | st.builds(Payload, st.integers(1, 255), st.binary(max_size=300))
_retries = st.just(RetryPolicy()) | st.builds(
    RetryPolicy, st.integers(1, 100), st.sampled_from(Backoff), spans, spans, st.floats(0, 1)
)
_tags = st.dictionaries(names, st.text(st.characters(exclude_categories=["Cc", "Cs"]), max_size=20), max_size=4)
_conditions = st.just(NO_CONDITIONS) | st.builds(
    Conditions, st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=40), st.integers(1, 100)
)
_errors = st.lists(st.builds(JobError, texts, texts, texts, times, st.integers(0, 2**32 - 1)), max_size=10).map(tuple)
_progress = st.builds(Progress, st.floats(0, 1), texts, times)
_cancels = st.builds(Cancel, texts, texts, spans, times, st.none() | times, st.none() | times)


@st.composite
def lives(draw: st.DrawFn, states: st.SearchStrategy[State]) -> dict[str, Any]:
    """All of a job but its id, spec and arrival."""
    state = draw(states)
    return {
        "state": state,
        "create_time": draw(times),
        "schedule_time": draw(times),
        "start_time": draw(st.none() | times),
        "end_time": draw(times if state in ENDED else st.none() | times),
        "attempt": draw(st.integers(0, 2**32 - 1)),
        "failures": draw(st.integers(0, 2**16 - 1)),
        "crashes": draw(st.integers(0, 255)),
        "revision": draw(st.integers(0, 2**32 - 1)),
        "errors": draw(_errors),
        "progress": draw(st.none() | _progress),
        "result": draw(st.none() | st.binary(max_size=100)),
        "cancel": draw(st.none() | _cancels),
        "fired": draw(st.booleans()),
    }


def specs(queue: str = "q") -> st.SearchStrategy[JobSpec]:
    """Any spec of a queue's job."""
    return st.builds(
        JobSpec,
        st.just(queue),
        names,
        _payloads,
        st.integers(*INT32),
        st.builds(Terms, _retries, st.none() | spans, st.builds(Retention, spans, spans)),
        _tags,
        _conditions,
    )


def jobs(states: st.SearchStrategy[State] | None = None) -> st.SearchStrategy[Job]:
    """Any job of queue "q"."""
    return st.builds(
        lambda job_id, spec, arrival, life: Job(job_id, spec, arrival=arrival, **life),
        ids,
        specs(),
        arrivals,
        lives(states or st.sampled_from(IDLE)),
    )
