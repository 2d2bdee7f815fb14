"""What the comparison says: what could not be had or done, and which figures are read beside which."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest
from bench.figures import Sample
from bench.peers import plot, table
from bench.peers.turns import Comparison, Measured, chosen, compare
from bench.peers.works import PEERS_QUICK

BULK, LATE, EARLY = "bulk schedules/s", "due at once, late p99 ms", "due at once, started early"
ABOUT = {"cores": 2}


def measured(name: str, language: str, **figures: float) -> Measured:
    found = {{"bulk": BULK, "late": LATE, "early": EARLY}[key]: Sample(value) for key, value in figures.items()}
    return Measured(name, language, rounds=[found])


@pytest.fixture
def comparison() -> Comparison:
    systems = [
        measured("Tocsin", "python", bulk=40_000, late=8, early=0),
        measured("bull", "node", bulk=20_000, late=40, early=0),
        measured("asynq", "go", late=-800, early=500),
        measured("bullmq-py", "python", bulk=10_000, late=200, early=0),
    ]
    systems[2].cannot = {"bulk schedules": "no call takes more than one task"}
    return Comparison(
        PEERS_QUICK, systems, not_run=["celery: pip is away"], troubles=["saq, cancels, round 1: it died"]
    )


def column(name: str) -> table.Column:
    return next(one for one in [*table.RATES, *table.TIMES] if one.name == name)


def test_a_peer_that_cannot_be_had_is_said_loudly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    said: list[str] = []
    found = compare(tmp_path, ["bull", "asynq"], rounds=0, sizes=PEERS_QUICK, standing=0, say=said.append)
    go = "go is not on PATH"
    assert found.not_run == [f"Tocsin, worker in Go: {go}", "bull: npm is not on PATH", f"asynq: {go}"]
    assert [line for line in said if line.startswith("NOT RUN")] == [f"NOT RUN: {why}" for why in found.not_run]
    assert "**NOT RUN: bull: npm is not on PATH.**" in table.markdown(found, ABOUT)


def test_an_unknown_peer_is_refused_with_those_there_are() -> None:
    with pytest.raises(ValueError, match="no such peer: rabbit; there are bull, bullmq, asynq"):
        chosen("saq,rabbit")
    assert chosen("saq,bull") == ["bull", "saq"]
    assert chosen("none") == []


def test_each_figure_is_read_beside_the_best(comparison: Comparison) -> None:
    beside = table.comparisons(comparison.systems, column(BULK))
    assert [(said, peer.name, ratio) for said, peer, ratio in beside] == [
        ("best", "bull", 2.0),
        ("best in Python", "bullmq-py", 4.0),
        ("bull", "bull", 2.0),
    ]


def test_who_starts_early_is_not_the_least_late(comparison: Comparison) -> None:
    [best, *_] = table.comparisons(comparison.systems, column(LATE))
    assert (best[1].name, best[2]) == ("bull", 0.2)


def test_what_was_not_done_stands_in_table_and_json(comparison: Comparison) -> None:
    shown = table.markdown(comparison, ABOUT)
    assert "**NOT RUN: celery: pip is away.**" in shown
    assert "- asynq, bulk schedules: no call takes more than one task" in shown
    assert "| asynq | cannot |" in shown
    assert "- saq, cancels, round 1: it died" in shown
    plain = json.loads(json.dumps(table.plain(comparison, ABOUT)))
    assert plain["systems"]["asynq"]["cannot"]
    assert plain["ratios"][BULK]["bull"] == {"peer": "bull", "ratio": 2.0}


def test_the_plot_is_a_picture_with_each_figure(comparison: Comparison) -> None:
    picture = ElementTree.fromstring(plot.svg(comparison))
    texts = ["".join(text.itertext()) for text in picture.iter("{http://www.w3.org/2000/svg}text")]
    assert {"Tocsin", "bull", "40,000", "cannot", "-800 (early)"} <= set(texts)
