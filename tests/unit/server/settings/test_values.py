"""How single settings are written, and what they may be."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import ValidationError
from support.loaded_settings import refused, settings
from tocsin_server.domain.defaults import SERVER_DEFAULTS, JobDefaults
from tocsin_server.domain.retry import Backoff
from tocsin_server.settings import HttpSettings, Settings, duration, load, secrets_of, show_duration


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("500ms", timedelta(milliseconds=500)),
        ("45s", timedelta(seconds=45)),
        ("2m", timedelta(minutes=2)),
        ("1h", timedelta(hours=1)),
        ("1h30m", timedelta(minutes=90)),
        ("1.5s", timedelta(milliseconds=1500)),
        ("7d", timedelta(days=7)),
        ("0s", timedelta(0)),
        ("30 seconds", timedelta(seconds=30)),
        ("1 minute", timedelta(minutes=1)),
        ("1 hour 30 minutes", timedelta(minutes=90)),
        ("2days", timedelta(days=2)),
    ],
)
def test_durations_are_written_with_their_unit(text: str, span: timedelta) -> None:
    assert duration(text) == span
    assert duration(show_duration(span)) == span


@given(st.timedeltas(min_value=timedelta(0)))
@example(timedelta(milliseconds=1_234_567))
@example(timedelta(microseconds=1_234_567))
@example(timedelta.max)
def test_a_duration_is_shown_as_it_can_be_written(span: timedelta) -> None:
    shown = show_duration(span)
    assert re.fullmatch(r"[0-9]+(\.[0-9]{1,3})?ms|[0-9]+[smhd]", shown)
    assert duration(shown) == span


@pytest.mark.parametrize("text", ["", "45", "s", "-1s", "1 s", "1y", "1s2", "45sx", "1 secondly", 45, None])
def test_other_ways_to_write_a_duration_are_refused(text: object) -> None:
    with pytest.raises(ValueError, match="with its unit"):
        duration(text)


def test_a_duration_beyond_all_bounds_is_refused_too() -> None:
    with pytest.raises(ValueError, match="that long"):
        duration("9" * 400 + "d")


def test_what_jobs_get_by_default_is_what_the_contract_promises() -> None:
    got = Settings()
    assert (got.concurrency, got.type_concurrency) == (20, 5)
    assert SERVER_DEFAULTS == JobDefaults(
        max_attempts=3,
        backoff=Backoff.EXPONENTIAL,
        initial_delay=timedelta(seconds=2),
        max_delay=timedelta(hours=1),
        jitter=0.2,
        completed_for=timedelta(hours=24),
        failed_for=timedelta(days=30),
    )
    assert got.retry.max_attempts == SERVER_DEFAULTS.max_attempts
    assert Backoff[got.retry.backoff.upper()] == SERVER_DEFAULTS.backoff
    assert got.retry.initial_delay == SERVER_DEFAULTS.initial_delay
    assert got.retry.max_delay == SERVER_DEFAULTS.max_delay
    assert got.retry.jitter == SERVER_DEFAULTS.jitter
    assert got.retention.completed_for == SERVER_DEFAULTS.completed_for
    assert got.retention.failed_for == SERVER_DEFAULTS.failed_for


@pytest.mark.parametrize(
    ("variable", "least", "most", "beyond"),
    [
        ("TOCSIN_TYPE_CONCURRENCY", "1", "10000", ["0", "10001", "x"]),
        ("TOCSIN_RETRY__MAX_ATTEMPTS", "1", "100", ["0", "101", "1.5"]),
        ("TOCSIN_RETRY__INITIAL_DELAY", "1ms", "1h", ["0s", "25h", "2"]),
        ("TOCSIN_RETRY__MAX_DELAY", "2s", "30d", ["0s", "31d"]),
        ("TOCSIN_RETRY__JITTER", "0", "1", ["-0.1", "1.1", "nan", "inf"]),
        ("TOCSIN_RETENTION__COMPLETED_FOR", "0s", "3653d", ["3654d", "-1s"]),
        ("TOCSIN_RETENTION__FAILED_FOR", "0s", "3653d", ["3654d", "forever"]),
        ("TOCSIN_TICK", "100ms", "1m", ["99ms", "61s"]),
        (
            "QUEUE_COLLECTION",
            "a",
            "_shop.jobs-2",
            ["", "1a", "a..b", "a.", ".a", "a$", "system.users", "a b", "a" * 101],
        ),
    ],
)
def test_a_value_beyond_its_bounds_is_refused_with_one_line_that_names_the_variable(
    variable: str, least: str, most: str, beyond: list[str]
) -> None:
    store = {"QUEUE_PROVIDER": "mongo"} if variable == "QUEUE_COLLECTION" else {}
    for value in (least, most):
        settings(**store, **{variable: value})
    for value in filter(None, beyond):
        [line] = refused(**store, **{variable: value})
        assert line.startswith(f"{variable}: ")


def test_a_first_wait_above_the_longest_is_refused_and_both_are_named() -> None:
    assert settings(TOCSIN_RETRY__INITIAL_DELAY="2h", TOCSIN_RETRY__MAX_DELAY="2h").retry.max_delay.seconds == 7200
    [line] = refused(TOCSIN_RETRY__INITIAL_DELAY="2h", TOCSIN_RETRY__MAX_DELAY="1h30m")
    assert line.startswith("TOCSIN_RETRY__INITIAL_DELAY, TOCSIN_RETRY__MAX_DELAY: ")


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        settings().listen = "127.0.0.1:1"


NEW, OLD = "n" * 16, "o" * 16


@pytest.mark.parametrize("written", [f"orders={NEW} {OLD}, bills={OLD}", {"orders": [NEW, OLD], "bills": OLD}])
def test_secrets_are_written_by_name_one_or_two(written: object) -> None:
    found = HttpSettings(secrets=written).secrets  # type: ignore[arg-type]  # as it comes from a variable or a file
    assert {name: [one.get_secret_value() for one in several] for name, several in found.items()} == {
        "orders": [NEW, OLD],
        "bills": [OLD],
    }


@pytest.mark.parametrize(
    ("written", "why"),
    [
        (NEW, "write a name and its secrets"),
        ("orders=short", "too short"),
        ("orders=", "has 0 secrets"),
        (f"orders={NEW} {OLD} {NEW}", "has 3 secrets"),
        (f"or ders={NEW}", "a secret's name"),
        ({"orders": f"{NEW} {OLD}"}, "has a space"),
    ],
)
def test_other_secrets_are_refused_and_not_told(written: object, why: str) -> None:
    with pytest.raises(ValidationError, match=why) as refused:
        HttpSettings(secrets=written)  # type: ignore[arg-type]  # on purpose
    [problem] = refused.value.errors(include_input=False, include_url=False, include_context=False)
    assert NEW not in problem["msg"]


def test_places_that_may_be_asked_are_names_and_networks() -> None:
    assert HttpSettings(allow="10.0.0.0/8, intranet.example").allow == ("10.0.0.0/8", "intranet.example")  # type: ignore[arg-type]  # as it comes from a variable
    with pytest.raises(ValidationError, match=r"'\*\.example' is neither"):
        HttpSettings(allow=("*.example",))


def test_secrets_by_name_are_hidden_where_settings_are_shown() -> None:
    loaded = load([], {"TOCSIN_HTTP__SECRETS": f"orders={NEW} {OLD}"})
    [origin] = [one for one in loaded.origins if one.setting == "http.secrets"]
    assert (origin.shown, origin.source) == ("orders=*** ***", "TOCSIN_HTTP__SECRETS")
    assert {NEW, OLD} <= set(secrets_of(loaded.settings))
