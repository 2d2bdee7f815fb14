"""Figures as Markdown for people and JSON for programs."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from importlib import metadata
from typing import Any

from support.stubs import request

from bench.bed import DATA
from bench.figures import Figure
from bench.herd import Check

#: Which figure is read beside which: the first as a share of the second.
Pairs = Sequence[tuple[str, str]]
RATIOS: Pairs = [
    ("unary schedules/s, plain stubs", "limit: empty gRPC calls/s"),
    ("unary schedules/s, gathering client", "limit: empty gRPC calls/s"),
    ("unary schedules/s, gathering client", "unary schedules/s, plain stubs"),
    ("batch schedules/s", "limit: bare script add, jobs/s"),
    ("no-op jobs run/s", "limit: bare scripts claim and finish, jobs/s"),
    ("cancels/s", "limit: empty gRPC calls/s"),
    ("unary schedules/s, plain stubs, others standing", "unary schedules/s, plain stubs"),
    ("unary schedules/s, gathering client, others standing", "unary schedules/s, gathering client"),
    ("batch schedules/s, others standing", "batch schedules/s"),
    ("no-op jobs run/s, others standing", "no-op jobs run/s"),
]


_PAYLOAD = request("bench", "noop", DATA).job.data.ByteSize()


def machine(store: Mapping[str, str], packages: Sequence[str]) -> dict[str, Any]:
    """What it was measured on: the store's name and version, and those of Python packages."""
    versions = {f"{name} (PyPI)" if name in store else name: metadata.version(name) for name in packages}
    return {
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        **store,
        "payload bytes": _PAYLOAD,
        **versions,
    }


def ratios(figures: Mapping[str, Figure], pairs: Pairs = RATIOS) -> dict[str, float]:
    """The ratios of which both figures were taken."""
    return {
        f"{first} / {second}": figures[first].median / figures[second].median
        for first, second in pairs
        if first in figures and second in figures and figures[second].median
    }


def cost_ratios(figures: Mapping[str, Figure], pairs: Pairs) -> dict[str, float]:
    """The ratios of the store's processor time a job, where both were taken."""
    costs = {name: figure.median_of(lambda sample: sample.store_us) for name, figure in figures.items()}
    return {
        f"{first} / {second}": one / other
        for first, second in pairs
        if (one := costs.get(first)) is not None and (other := costs.get(second))
    }


def tables(figures: Mapping[str, Figure], pairs: Pairs = RATIOS) -> list[str]:
    """Figures and their ratios, as lines of Markdown."""
    return [
        *figure_table(figures, "server"),
        "| ratio | |",
        "|---|---:|",
        *(f"| {name} | {value:.2f} |" for name, value in ratios(figures, pairs).items()),
        "",
    ]


def figure_table(figures: Mapping[str, Figure], program: str) -> list[str]:
    """The figures alone; `program`: whose processor time stands beside the store's."""
    return [
        f"| figure | median | range | {program} µs/job | store µs/job |",
        "|---|---:|---:|---:|---:|",
        *(_row(figure) for figure in figures.values()),
        "",
    ]


def markdown(about: Mapping[str, Any], figures: Mapping[str, Figure], checks: Sequence[Check]) -> str:
    """Three tables: figures, ratios, checks; each only where there is something to show."""
    lines = ["# Tocsin, measured", "", ", ".join(f"{name} {value}" for name, value in about.items()), ""]
    if figures:
        lines += tables(figures)
    if checks:
        lines += ["| check | found | bound | |", "|---|---:|---:|---|"]
        for check in checks:
            sign, verdict = "≥" if check.at_least else "≤", "holds" if check.holds else "DOES NOT HOLD"
            lines.append(f"| {check.name} | {number(check.found)} {check.unit} | {sign} {check.bound:g} | {verdict} |")
        lines.append("")
    return "\n".join(lines)


def plain(about: Mapping[str, Any], figures: Mapping[str, Figure], checks: Sequence[Check]) -> dict[str, Any]:
    """The same, with every round's value, as JSON takes it."""
    return {
        "about": about,
        "figures": plain_figures(figures),
        "ratios": ratios(figures),
        "checks": [
            {"name": c.name, "found": c.found, "bound": c.bound, "unit": c.unit, "holds": c.holds} for c in checks
        ],
    }


def plain_figures(figures: Mapping[str, Figure]) -> dict[str, Any]:
    """The figures with every round's value, as JSON takes them."""
    return {
        name: {
            "unit": figure.unit,
            "median": figure.median,
            "rounds": [sample.value for sample in figure.samples],
            "server_us_per_job": figure.median_of(lambda sample: sample.server_us),
            "store_us_per_job": figure.median_of(lambda sample: sample.store_us),
        }
        for name, figure in figures.items()
    }


def _row(figure: Figure) -> str:
    low, high = figure.range
    costs = [figure.median_of(lambda sample: sample.server_us), figure.median_of(lambda sample: sample.store_us)]
    shown = " | ".join("" if cost is None else f"{cost:.1f}" for cost in costs)
    return f"| {figure.name} | {number(figure.median)} | {number(low)}..{number(high)} | {shown} |"


def number(value: float) -> str:
    """As people read it: three digits, or whole."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"
