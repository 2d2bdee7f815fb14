"""Each program that the bench measures does each work that it says it can, at a size that takes a moment."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NoReturn

import pytest
from bench.peers.catalogue import peers
from bench.peers.having import NotHad
from bench.peers.session import PeerSystem, System, TocsinSystem
from bench.peers.turns import chosen
from bench.peers.works import WORKS, PeerSizes, Work, beside

SIZES = PeerSizes(
    bulk=50, single=50, run=50, starts=2, due=20, cancels=20, memory=500, warm=5, callers=10, starts_before=1
)
#: Asynq rounds due times down to whole seconds: jobs start early, unless they are due at one.
EARLY = {"asynq"}

#: Those to try, as --peers names them; all take four minutes to install the first time.
TRIED = chosen(os.environ.get("TESTS_PEERS", "all"))


def does(system: System, works: Iterable[Work], folder: Path) -> None:
    """What it cannot has a reason; each figure of what it can is one that a queue may have."""
    for work in works:
        with system.session(folder / work.question, working=work.working) as session:
            assert system.about["settings"]
            assert system.about["versions"]
            if work.question in system.about["cannot"]:
                assert len(system.about["cannot"][work.question]) > 10
                continue
            found = work.measure(session, SIZES)
        assert found
        for name, sample in found.items():
            assert sample.value < 1_000_000, name
            if name == "due at once, started early":
                assert sample.value == 0 or system.name in EARLY
            elif not name.startswith("due at once") or system.name not in EARLY:
                assert sample.value > 0, name
            if "/s" in name:
                assert sample.store_us, name


@pytest.mark.timeout(400)  # a first one is installed, or built, before
@pytest.mark.parametrize("name", TRIED)
def test_a_peer_does_what_it_can(name: str, tmp_path: Path, without_peer: Callable[[Exception], NoReturn]) -> None:
    try:
        system = PeerSystem(peers()[name], tmp_path / "programs")
    except NotHad as trouble:
        without_peer(trouble)
    works = [work for work in [*WORKS, beside(30)] if not work.tocsin_alone]
    does(system, works, tmp_path / "here")


def test_tocsin_does_what_is_its_own_too(tmp_path: Path) -> None:
    system = TocsinSystem()
    works = [work for work in WORKS if work.tocsin_alone or work.question in ("bulk", "work", "due")]
    does(system, works, tmp_path)
    assert system.about["cannot"] == {}
