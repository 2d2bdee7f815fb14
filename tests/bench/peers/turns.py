"""Tocsin and the peers, measured in turns: each work of each system once a round, on a Redis of its own."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from bench.figures import Figure, Sample, over_rounds
from bench.peers.catalogue import peers
from bench.peers.having import NotHad
from bench.peers.protocol import Cannot, Trouble
from bench.peers.session import PeerSystem, System, TocsinGoSystem, TocsinSystem, TocsinWorkerSystem
from bench.peers.works import WORKS, PeerSizes, Work, beside

Say = Callable[[str], None]
TOCSIN = TocsinSystem.name


@dataclass
class Measured:
    """What was found of one system."""

    name: str
    language: str
    about: dict[str, Any] = field(default_factory=dict)
    cannot: dict[str, str] = field(default_factory=dict)  # by work
    rounds: list[dict[str, Sample]] = field(default_factory=list)

    @property
    def figures(self) -> dict[str, Figure]:
        return over_rounds(self.rounds)


@dataclass
class Comparison:
    """All systems that were measured, those that could not be had, and what went wrong."""

    sizes: PeerSizes
    systems: list[Measured] = field(default_factory=list)
    not_run: list[str] = field(default_factory=list)
    troubles: list[str] = field(default_factory=list)


def chosen(names: str) -> Sequence[str]:
    """The peers of "bull,saq", "all" or "none". ValueError: no such peer."""
    there = list(peers())
    if names in ("all", "none"):
        return there if names == "all" else []
    wanted = names.split(",")
    if unknown := set(wanted) - set(there):
        raise ValueError(f"no such peer: {', '.join(sorted(unknown))}; there are {', '.join(there)}")
    return [name for name in there if name in wanted]


def compare(
    folder: Path, names: Collection[str], *, rounds: int, sizes: PeerSizes, standing: int, say: Say
) -> Comparison:
    """Measure Tocsin and these peers. The order of systems is another in each round."""
    found = Comparison(sizes)
    wanted: list[tuple[str, str, Callable[[], System]]] = [
        (TocsinSystem.name, "python", TocsinSystem),
        (TocsinWorkerSystem.name, "python", TocsinWorkerSystem),
        (TocsinGoSystem.name, "go", TocsinGoSystem),
    ]
    for peer in (peers()[name] for name in names):
        wanted.append((peer.name, peer.language, partial(PeerSystem, peer, folder / "programs")))
    systems: list[tuple[System, Measured]] = []
    for name, language, made in wanted:
        try:
            systems.append((made(), Measured(name, language)))
        except NotHad as trouble:
            say(f"NOT RUN: {name}: {trouble}")
            found.not_run.append(f"{name}: {trouble}")
    found.systems = [measured for _, measured in systems]
    works = [*WORKS, *([beside(standing)] if standing else [])]
    for number in range(rounds):
        say(f"round {number + 1}, beside {', '.join(names)}")
        turn = number % len(systems)
        for _, measured in systems:
            measured.rounds.append({})
        for work in works:
            for system, measured in systems[turn:] + systems[:turn]:
                if work.name in measured.cannot or (work.tocsin_alone and measured.name != TOCSIN):
                    continue
                if system.only_works and not work.working:
                    continue
                say(f"  {work.name}: {measured.name}")
                try:
                    here = folder / f"round{number}" / work.question / measured.name
                    measured.rounds[-1] |= _measured(system, work, here, sizes)
                except Cannot as why:
                    measured.cannot[work.name] = str(why)
                except Trouble as trouble:
                    say(f"    {trouble}")
                    found.troubles.append(f"{measured.name}, {work.name}, round {number + 1}: {trouble}")
                measured.about = dict(system.about)
    return found


def _measured(system: System, work: Work, folder: Path, sizes: PeerSizes) -> dict[str, Sample]:
    with system.session(folder, working=work.working) as session:
        if why := system.about["cannot"].get(work.question):
            raise Cannot(why)
        return work.measure(session, sizes)
