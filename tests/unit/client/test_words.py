"""Words of closed lists and priorities: what is allowed is said, and every refusal is a TocsinError."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, get_args

import pytest
import tocsin
from tocsin import InvalidArgument, JobRequest, RetryPolicy, TocsinError, WrongType, _calls, _queue_calls
from tocsin._checking import PRIORITIES
from tocsin._job_requests import schedule_request
from tocsin.requests import Priority

Asks = Callable[[Any], object]


def schedule(**options: Any) -> object:
    return schedule_request(JobRequest("x", **options))


@pytest.mark.parametrize(
    ("ask", "value", "field", "allowed"),
    [
        (lambda v: schedule(on_conflict=v), "REPLACED", "on_conflict", "FAIL, KEEP, REPLACE"),
        (lambda v: schedule(retry=RetryPolicy(backoff=v)), "fixd", "job.retry.backoff", "FIXED, EXPONENTIAL"),
        (lambda v: schedule(priority=v), "urgent", "job.priority", "low, normal, high"),
        (lambda v: _calls.update("a", {"priority": v}), "HIGHEST", "job.priority", "low, normal, high"),
        (lambda v: _calls.list_page({"priority_min": v}), "", "priority_min", "low, normal, high"),
        (lambda v: _calls.list_page({"states": ["FAILED", v]}), "DONE", "states[1]", "COMPLETED, FAILED, CANCELLED"),
        (lambda v: _calls.get("a", view=v), "whole", "view", "BASIC, FULL"),
        (lambda v: _queue_calls.purge("", [v], (), None, False), "GONE", "states[0]", "COMPLETED, FAILED, CANCELLED"),
    ],
)
def test_a_wrong_word_is_refused_with_those_that_are_right(ask: Asks, value: str, field: str, allowed: str) -> None:
    with pytest.raises(InvalidArgument, match=f"is '{value}', which is none of .*{allowed}") as caught:
        ask(value)
    assert [violation.field for violation in caught.value.violations] == [field]
    assert isinstance(caught.value, ValueError)
    assert not isinstance(caught.value, TypeError)
    with pytest.raises(WrongType, match=allowed):
        ask(1.5)


@pytest.mark.parametrize(
    ("ask", "value", "field"),
    [
        (lambda v: schedule(delay=v), "3s", "delay"),
        (lambda v: schedule(at=v), "2030-12-24T18:00:00Z", "at"),
        (lambda v: schedule(tags={"a": v}), 7, "job.tags['a']"),
        (lambda v: schedule(job_id=v), 7, "job_id"),
        (lambda v: schedule(payload=v), [1], "job"),
        (lambda v: schedule(priority=v), True, "job.priority"),
        (lambda v: schedule(retry=RetryPolicy(max_attempts=v)), "3", "job.retry.max_attempts"),
        (_calls.get, 7, "job_id"),
        (lambda v: _calls.list_page({"types": v}), "email", "types"),
        (lambda v: _calls.list_page({"states": v}), 7, "states"),
        (lambda v: _calls.list_page({v: 1}), "state", "state"),  # type: ignore[misc]  # on purpose
        (lambda v: _queue_calls.update("q", {"defaults": v}), {"concurrency": 3}, "queue.defaults"),
        (lambda v: _queue_calls.update("q", {"types": {"sms": v}}), 3, "queue.type_defaults[sms]"),
    ],
)
def test_a_value_of_the_wrong_type_is_an_error_of_tocsin_and_a_type_error(ask: Asks, value: Any, field: str) -> None:
    with pytest.raises(TypeError) as caught:
        ask(value)
    assert isinstance(caught.value, TocsinError)
    assert [violation.field for violation in caught.value.violations] == [field]


def test_a_value_out_of_range_names_its_field() -> None:
    with pytest.raises(InvalidArgument, match=r"job\.retry\.max_attempts: cannot be sent"):
        schedule(retry=RetryPolicy(max_attempts=2**31))
    with pytest.raises(InvalidArgument, match="at: is a time without a zone"):
        schedule(at=datetime(2030, 1, 1))


def test_priorities_have_words_and_keep_their_numbers() -> None:
    assert PRIORITIES == {"low": -10, "normal": 0, "high": 10}
    assert set(get_args(get_args(Priority)[1])) == set(PRIORITIES)
    for word, number in PRIORITIES.items():
        assert schedule_request(JobRequest("x", priority=word)).job.priority == number  # type: ignore[arg-type]
    assert schedule_request(JobRequest("x", priority=-7)).job.priority == -7
    asked = _calls.list_page({"priority_min": "normal", "priority_max": "high"}).request
    assert (asked.priority_min, asked.priority_max) == (0, 10)  # type: ignore[attr-defined]  # of ListJobsRequest
    assert asked.HasField("priority_min")
    assert _calls.update("a", {"priority": "low"}).request.job.priority == -10  # type: ignore[attr-defined]  # likewise


def test_the_types_error_can_be_caught_by_its_name() -> None:
    assert issubclass(tocsin.WrongType, tocsin.InvalidArgument)
