"""What a job gets where its spec is silent."""

from __future__ import annotations

from dataclasses import fields
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tocsin_server.domain.defaults import SERVER_DEFAULTS, UNSET, JobDefaults, JobRequest, terms
from tocsin_server.domain.job import OnConflict, Payload, Retention
from tocsin_server.domain.queues import QueueSettings
from tocsin_server.domain.retry import Backoff, RetryPolicy

SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)

spans = st.none() | st.timedeltas(SECOND, HOUR)
levels = st.builds(
    JobDefaults,
    st.none() | st.integers(1, 100),
    st.none() | st.sampled_from(Backoff),
    spans,
    spans,
    st.none() | st.floats(0, 1),
    spans,
    spans,
    spans,
    st.none() | st.integers(1, 10_000),
)


def test_a_silent_request_gets_what_the_server_says() -> None:
    said = terms(UNSET, SERVER_DEFAULTS)
    assert said.retry == RetryPolicy(3, Backoff.EXPONENTIAL, 2 * SECOND, HOUR, 0.2)
    assert (said.timeout, said.retention) == (None, Retention(24 * HOUR, timedelta(days=30)))
    spec = JobRequest("q", "t").draft(said).spec
    assert (spec.terms, spec.priority, spec.payload, spec.tags) == (said, 0, None, {})


def test_a_requests_own_word_goes_first() -> None:
    asked = JobDefaults(7, Backoff.FIXED, 3 * SECOND, MINUTE, 0.0, HOUR, timedelta(0), SECOND)
    said = terms(asked, SERVER_DEFAULTS)
    assert said.retry == RetryPolicy(7, Backoff.FIXED, 3 * SECOND, MINUTE, 0.0)
    assert (said.timeout, said.retention) == (HOUR, Retention(timedelta(0), SECOND))


def test_the_type_goes_before_the_queue_and_the_queue_before_the_server() -> None:
    of_queue = JobDefaults(max_attempts=5, timeout=HOUR, jitter=0.5)
    of_type = JobDefaults(max_attempts=9, jitter=0.0)
    below = of_type.over(of_queue).over(SERVER_DEFAULTS)
    said = terms(JobDefaults(max_attempts=1), below)
    assert (said.retry.max_attempts, said.retry.jitter, said.timeout) == (1, 0.0, HOUR)
    assert said.retry.initial_delay == 2 * SECOND


@given(levels, levels)
def test_a_level_is_heard_where_the_one_above_is_silent(above: JobDefaults, below: JobDefaults) -> None:
    both = above.over(below)
    for field in fields(JobDefaults):
        mine = getattr(above, field.name)
        assert getattr(both, field.name) == (getattr(below, field.name) if mine is None else mine)


@given(levels, levels, levels)
def test_layers_join_in_any_grouping(one: JobDefaults, two: JobDefaults, three: JobDefaults) -> None:
    assert one.over(two).over(three) == one.over(two.over(three))


@given(levels)
def test_a_level_without_words_changes_nothing(level: JobDefaults) -> None:
    assert UNSET.over(level) == level.over(UNSET) == level


def test_a_types_concurrency_goes_before_the_queues() -> None:
    types = {"narrow": JobDefaults(concurrency=1), "silent": JobDefaults(max_attempts=1)}
    settings = QueueSettings(defaults=JobDefaults(concurrency=7), type_defaults=types)
    assert [settings.concurrency_of(type_) for type_ in ("narrow", "silent", "other")] == [1, 7, 7]
    settings = QueueSettings(type_defaults=types)
    assert [settings.concurrency_of(type_) for type_ in ("narrow", "silent", "other")] == [1, None, None]


def test_a_word_of_nothing_is_a_word() -> None:
    said = JobDefaults(jitter=0.0, completed_for=timedelta(0)).over(SERVER_DEFAULTS)
    assert (said.jitter, said.completed_for) == (0.0, timedelta(0))


def test_a_longest_wait_of_a_lower_level_is_lifted_to_the_first_wait_asked_for() -> None:
    said = terms(JobDefaults(initial_delay=5 * HOUR), SERVER_DEFAULTS)
    assert (said.retry.initial_delay, said.retry.max_delay) == (5 * HOUR, 5 * HOUR)


def test_what_defaults_do_not_concern_is_taken_over() -> None:
    when = datetime(2099, 1, 1, tzinfo=UTC)
    request = JobRequest(
        "q", "t", Payload(11, b"\0"), -5, tags={"k": "v"}, job_id="a", when=when, on_conflict=OnConflict.KEEP
    )
    made = request.draft(terms(UNSET, SERVER_DEFAULTS))
    assert (made.job_id, made.when, made.on_conflict) == ("a", when, OnConflict.KEEP)
    assert (made.spec.queue, made.spec.type, made.spec.priority) == ("q", "t", -5)
    assert (made.spec.payload, made.spec.tags) == (Payload(11, b"\0"), {"k": "v"})


def test_the_lowest_level_must_be_complete() -> None:
    with pytest.raises(AssertionError):
        terms(UNSET, UNSET)
