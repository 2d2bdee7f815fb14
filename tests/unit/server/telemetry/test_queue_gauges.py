"""What stands in queues is written the same by each server, bounded, and with sums that are right."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import timedelta

from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families
from tocsin_server.domain.queues import QueueFigures
from tocsin_server.domain.states import State
from tocsin_server.domain.times import EPOCH
from tocsin_server.telemetry import queue_gauges
from tocsin_server.telemetry.instruments import OTHER
from tocsin_server.telemetry.metrics import TYPES
from tocsin_server.telemetry.queue_gauges import QueueGauges

NOW = EPOCH + timedelta(days=1)


def figures(*, due_for: int | None = None, **waiting: int) -> QueueFigures:
    """Of a queue with so many WAITING jobs of each type."""
    oldest = None if due_for is None else NOW - timedelta(seconds=due_for)
    return QueueFigures(NOW, {State.WAITING: waiting}, oldest, 0.0, 0.0)


def shown(gauges: QueueGauges, queues: Mapping[str, QueueFigures]) -> dict[tuple[str, ...], float]:
    """Jobs by queue, type and state; ages by queue; their number by nothing. Where only these queues are there, now."""
    gauges.drop(gauges._queues.keys() - queues.keys())
    gauges.take(queues)
    return {
        tuple(sample.labels.values()): sample.value
        for family in text_string_to_metric_families("".join(gauges.lines(NOW)))
        for sample in family.samples
    }


def test_jobs_ages_and_the_number_of_queues_are_shown() -> None:
    queues = {"mail": figures(letter=3, card=1, due_for=90), "web": figures()}
    assert shown(QueueGauges(10), queues) == {
        (): 2,
        ("mail", "letter", "WAITING"): 3,
        ("mail", "card", "WAITING"): 1,
        ("mail",): 90,
        ("web",): 0,
    }


def test_queues_beyond_the_bound_are_added_up_whichever_came_first() -> None:
    queues = {name: figures(t=number, due_for=number) for number, name in enumerate("dcba", 1)}
    wanted = {
        (): 4,
        ("a", "t", "WAITING"): 4,
        ("b", "t", "WAITING"): 3,
        (OTHER, "t", "WAITING"): 3,
        ("a",): 4,
        ("b",): 3,
        (OTHER,): 2,
    }
    gauges = QueueGauges(2)
    assert shown(gauges, queues) == wanted
    assert shown(QueueGauges(2), dict(sorted(queues.items()))) == wanted
    del queues["a"], queues["d"]
    assert shown(gauges, queues) == {
        (): 2,
        ("b", "t", "WAITING"): 3,
        ("c", "t", "WAITING"): 2,
        ("b",): 3,
        ("c",): 2,
    }


def test_each_sample_stands_below_the_head_of_its_family() -> None:
    gauges = QueueGauges(1)
    gauges.take({name: figures(t=1, due_for=9) for name in "abc"})
    family = ""
    for line in "".join(gauges.lines(NOW)).splitlines():
        if line.startswith("# "):
            family = line.split()[2]
        else:
            assert line.partition(" ")[0].partition("{")[0] == family


def test_types_beyond_the_bound_are_added_up_and_told_apart_again_when_others_are_gone() -> None:
    many = {f"t{number:04}": 1 for number in range(TYPES + 3)}
    queues, gauges = {"q": figures(**many), "r": figures(z=5)}, QueueGauges(10)
    found = shown(gauges, queues)
    assert found["q", OTHER, "WAITING"] == 3
    assert found["r", OTHER, "WAITING"] == 5
    assert len({labels[1] for labels in found if len(labels) == 3}) == TYPES + 1
    queues["q"] = figures(t0000=1)
    assert shown(gauges, queues)["r", "z", "WAITING"] == 5


def test_of_too_many_pairs_the_last_queues_have_one_type() -> None:
    types = {f"t{number:03}": 1 for number in range(TYPES)}
    some = figures(**types)
    queues = {f"q{number:03}": some for number in range(queue_gauges._PAIRS // TYPES + 2)}
    assert queue_gauges._PAIRS % TYPES == 0
    found = shown(QueueGauges(1_000), queues)
    apart = [labels for labels in found if len(labels) == 3 and labels[1] != OTHER]
    assert len(apart) == queue_gauges._PAIRS
    assert found[max(queues), OTHER, "WAITING"] == TYPES


COUNTS = st.dictionaries(st.sampled_from(["t", "u", "v"]), st.integers(1, 9), max_size=3)
STANDING = st.dictionaries(st.sampled_from("abcdef"), COUNTS, max_size=6)


@settings(max_examples=50)
@given(st.lists(STANDING, min_size=1, max_size=6), st.integers(1, 4))
def test_sums_are_those_of_the_queues_whatever_changes(steps: list[dict[str, dict[str, int]]], most: int) -> None:
    gauges = QueueGauges(most)
    for step in steps:
        queues = {name: figures(**counts) for name, counts in step.items()}
        found = shown(gauges, queues)
        sums: Counter[str] = Counter()
        for labels, value in found.items():
            if len(labels) == 3:
                sums[labels[1]] += int(value)
        assert sums == sum((Counter(counts) for counts in step.values()), Counter())
        assert found == shown(QueueGauges(most), queues), "what it remembers changes nothing"
