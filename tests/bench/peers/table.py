"""The comparison as Markdown for people and JSON for programs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from bench import report
from bench.figures import Figure
from bench.peers.turns import TOCSIN, Comparison, Measured


@dataclass(frozen=True, slots=True)
class Column:
    """A figure. `beside`: the peers' figure that it is compared with, where they have another."""

    name: str
    work: str
    head: str
    beside: str = ""
    lower_is_better: bool = False
    compared: bool = True


RATES = [
    Column("bulk schedules/s", "bulk schedules", "bulk schedules/s"),
    Column(
        "bulk schedules/s, schedule_many",
        "bulk schedules from plain values",
        "by schedule_many",
        beside="bulk schedules/s",
    ),
    Column("single schedules/s", "single schedules", "single schedules/s"),
    Column("no-op jobs run/s", "no-op jobs", "no-op jobs/s"),
    Column("cancels/s", "cancels", "cancels/s"),
    Column("cancels/s, batches", "cancels in batches", "cancels/s, batches", beside="cancels/s"),
]
TIMES = [
    Column("schedule to start, idle, p50 ms", "schedule to start", "start p50 ms", lower_is_better=True),
    Column("schedule to start, idle, p99 ms", "schedule to start", "start p99 ms", lower_is_better=True),
    Column("due at once, late p50 ms", "due at once", "late p50 ms", lower_is_better=True),
    Column("due at once, late p99 ms", "due at once", "late p99 ms", lower_is_better=True),
    Column("due at once, earliest ms", "due at once", "earliest ms", compared=False),
    Column("due at once, started early", "due at once", "early", compared=False),
    Column("bytes in Redis a waiting job", "memory", "bytes a waiting job", lower_is_better=True),
]
_COSTLY = [column for column in RATES if not column.beside]
_EARLY = "due at once, started early"


def markdown(found: Comparison, about: Mapping[str, Any]) -> str:
    """Settings, figures, processor time, ratios, and what could not be done."""
    sizes = found.sizes
    lines = ["# Tocsin beside other queues on Redis", ""]
    for trouble in found.not_run:
        lines += [f"**NOT RUN: {trouble}.**", ""]
    lines += [
        ", ".join(f"{name} {value}" for name, value in about.items()),
        "",
        f"Bulk: {sizes.bulk:,} jobs, 1,000 a call, 4 calls in flight. Single: {sizes.single:,} jobs by {sizes.callers}"
        f" callers of one client. No-op jobs: {sizes.run:,} by one worker process, from a full queue, without the first"
        f" tenth. Start: {sizes.starts} jobs, one at a time. Late: {sizes.due} jobs due at one time. Cancels:"
        f" {sizes.cancels:,}. Bytes: over {sizes.memory:,} waiting jobs. Redis keeps nothing on disk. Median (range"
        " over the rounds).",
        "",
        "| system | versions | settings |",
        "|---|---|---|",
        *(_settings(system) for system in found.systems),
        "",
        *_table(found.systems, RATES),
        *_table(found.systems, TIMES),
        *_standing(found.systems),
        "Processor time of the system's own processes, client, worker and server together, and of Redis, µs a job:",
        "",
        *_costs(found.systems),
        *_ratios(found.systems),
    ]
    if reasons := [f"- {one.name}, {work}: {why}" for one in found.systems for work, why in one.cannot.items()]:
        lines += ["Cannot:", "", *reasons, ""]
    if found.troubles:
        lines += ["Went wrong:", "", *(f"- {' '.join(trouble.split())}" for trouble in found.troubles), ""]
    return "\n".join(lines)


def plain(found: Comparison, about: Mapping[str, Any]) -> dict[str, Any]:
    """The same, with every round's value, as JSON takes it."""
    return {
        "about": about,
        "sizes": asdict(found.sizes),
        "not_run": found.not_run,
        "troubles": found.troubles,
        "systems": {
            one.name: {
                "language": one.language,
                **{name: one.about[name] for name in ("versions", "settings") if name in one.about},
                "cannot": one.cannot,
                "figures": report.plain_figures(one.figures),
            }
            for one in found.systems
        },
        "ratios": {
            column.name: {said: {"peer": best.name, "ratio": ratio} for said, best, ratio in compared}
            for column in [*RATES, *TIMES]
            if (compared := comparisons(found.systems, column))
        },
    }


def comparisons(systems: Sequence[Measured], column: Column) -> list[tuple[str, Measured, float]]:
    """Tocsin's figure as a share of that of the best peer, of the best in Python, and of Bull."""
    name = column.beside or column.name
    ours = next((one.figures.get(column.name) for one in systems if one.name == TOCSIN), None)
    if ours is None or not column.compared:
        return []
    peers = [
        one
        for one in systems
        if not one.name.startswith(TOCSIN) and name in one.figures and not _starts_early(one, name)
    ]

    def best(of: Callable[[Measured], bool]) -> Measured | None:
        among = sorted((one for one in peers if of(one)), key=lambda one: one.figures[name].median)
        return (among[0] if column.lower_is_better else among[-1]) if among else None

    found = {
        "best": best(lambda one: True),
        "best in Python": best(lambda one: one.language == "python"),
        "bull": best(lambda one: one.name == "bull"),
    }
    return [
        (said, peer, ours.median / peer.figures[name].median)
        for said, peer in found.items()
        if peer and peer.figures[name].median
    ]


def _starts_early(system: Measured, name: str) -> bool:
    early = system.figures.get(_EARLY)
    return name.startswith("due at once") and early is not None and early.median > 0


def _settings(system: Measured) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in system.about.get("versions", {}).items())
    return f"| {system.name} | {versions} | {system.about.get('settings', '')} |"


def _table(systems: Sequence[Measured], columns: Sequence[Column]) -> list[str]:
    rows = []
    for one in systems:
        figures = one.figures
        rows.append([one.name, *(_cell(one, figures.get(column.name), column.work) for column in columns)])
    return _grid(["system", *(column.head for column in columns)], rows)


def _cell(system: Measured, figure: Figure | None, work: str) -> str:
    if figure is None:
        return "cannot" if work in system.cannot else ""
    low, high = figure.range
    shown = report.number(figure.median)
    return shown if low == high else f"{shown} ({report.number(low)}..{report.number(high)})"


def _standing(systems: Sequence[Measured]) -> list[str]:
    names = dict.fromkeys(name for one in systems for name in one.figures if name.endswith(" standing"))
    columns = [Column(name, name.partition(", ")[2], name) for name in names]
    return _table(systems, columns) if columns else []


def _costs(systems: Sequence[Measured]) -> list[str]:
    rows = []
    for one in systems:
        found = [one.figures.get(column.name) for column in _COSTLY]
        rows.append([one.name, *("" if figure is None else _cost(figure) for figure in found)])
    return _grid(["system", *(column.head.removesuffix("/s") for column in _COSTLY)], rows)


def _cost(figure: Figure) -> str:
    own, store = figure.median_of(lambda sample: sample.server_us), figure.median_of(lambda sample: sample.store_us)
    return " + ".join("-" if cost is None else f"{cost:.1f}" for cost in (own, store))


def _ratios(systems: Sequence[Measured]) -> list[str]:
    rows = []
    for column in [*RATES, *TIMES]:
        if compared := comparisons(systems, column):
            cells = {said: f"{ratio:.2f} ({peer.name})" for said, peer, ratio in compared}
            rows.append([column.name, *(cells.get(said, "") for said in ("best", "best in Python", "bull"))])
    if not rows:
        return []
    return _grid(["Tocsin's figure as a share of", "the best peer's", "the best Python peer's", "Bull's"], rows)


def _grid(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [
        f"| {' | '.join(head)} |",
        f"|---|{'---:|' * (len(head) - 1)}",
        *(f"| {' | '.join(row)} |" for row in rows),
        "",
    ]
