"""What is counted is written as Prometheus reads it: read back with its own client."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families
from tocsin_server.telemetry.instruments import OTHER, Counter, Family, Label, Timings, number


def read(lines: Iterable[str]) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Each sample's value by name and labels."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families("".join(lines))
        for sample in family.samples
    }


TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r"), max_size=20)


@given(st.dictionaries(st.tuples(TEXTS, TEXTS), st.floats(0, 1e12), max_size=5))
def test_any_label_and_number_is_read_as_it_was_counted(counted: dict[tuple[str, str], float]) -> None:
    counter = Counter(Family("things_total", "counter", 'What "was"\\\ncounted', ("a", "b")))
    for labels, value in counted.items():
        counter.add(*labels, by=value)
    wanted = {("things_total", frozenset({("a", a), ("b", b)})): value for (a, b), value in counted.items()}
    assert read(counter.lines()) == pytest.approx(wanted)
    assert read(counter.lines()) == pytest.approx(wanted), "what was written once is written again"


@given(st.lists(st.floats(0, 20, allow_subnormal=False), max_size=30))
def test_buckets_say_how_many_are_at_most_so_large(values: list[float]) -> None:
    bounds = (0.5, 1.0, 10.0)
    histogram = Timings(Family("took_seconds", "histogram", "How long", ("kind",)), bounds)
    for value in values:
        histogram.observe(value, "k")
    found = read(histogram.lines())
    if not values:
        assert found == {}
        return
    kind = ("kind", "k")
    for bound in bounds:
        assert found["took_seconds_bucket", frozenset({kind, ("le", number(bound))})] == sum(v <= bound for v in values)
    assert found["took_seconds_bucket", frozenset({kind, ("le", "+Inf")})] == len(values)
    assert found["took_seconds_count", frozenset({kind})] == len(values)
    assert found["took_seconds_sum", frozenset({kind})] == pytest.approx(sum(values))


def test_names_beyond_the_bound_are_one() -> None:
    label = Label(2)
    assert [label.of(name) for name in ("b", "a", "c", "b", "d", "a")] == ["b", "a", OTHER, "b", OTHER, "a"]


def test_a_family_without_values_is_not_written() -> None:
    assert list(Family("nothing", "gauge", "Nothing").lines([])) == []


def test_large_numbers_keep_their_digits() -> None:
    assert number(1_796_005_961.103) == "1796005961.103"
    assert number(104_308_736) == "104308736"
