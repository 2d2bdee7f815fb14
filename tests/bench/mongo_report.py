"""The figures on a MongoDB-wire server as Markdown for people and JSON for programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bench import report
from bench.commands import Spending
from bench.figures import Figure
from bench.report import Pairs

WARNING = """\
**The server is SecantusDB, and no mongod**: one process in Python that speaks MongoDB's wire protocol, sorts without
indexes and slows down with each document that matches. The absolute figures say nothing about MongoDB. What can be
read here: how two programs fare on the same server, how far Tocsin is from what the server does for bare pymongo, and
how many commands each sends."""

_OF_COMMANDS = """\
What a program does when idle goes on and is in each figure. `getMore events`, the wait on a change stream, is not in
the sum: this server answers it at each write of any collection, a mongod when something matches or after a second."""

_ONE_BY_ONE = "limit: insert one by one, jobs/s"
_INSERTS = "limit: insert 200 a command, jobs/s"
_RUN = "Tocsin: no-op jobs run/s"
_START = "schedule to start, idle"
PAIRS: Pairs = [
    ("Tocsin: unary schedules/s, plain stubs", "Agenda: schedules/s"),
    ("Tocsin: unary schedules/s, gathering client", "Agenda: schedules/s"),
    ("Tocsin: batch schedules/s", "Agenda: schedules/s"),
    ("Tocsin: cancels/s", "Agenda: cancels/s"),
    ("Tocsin: cancels/s, batches", "Agenda: cancels/s"),
    ("Tocsin: cancels/s, batches", "Agenda: cancels/s, all by one call"),
    ("Tocsin: list pages of 100/s", "Agenda: list pages of 100/s"),
    (_RUN, "Agenda: no-op jobs run/s, processEvery 5 s"),
    (_RUN, "Agenda: no-op jobs run/s, processEvery 200 ms"),
    (_RUN, "Agenda: no-op jobs run/s, processEvery 5 s, change streams"),
    (f"Tocsin: {_START}, p50 ms", f"Agenda: {_START}, processEvery 5 s, p50 ms"),
    (f"Tocsin: {_START}, p50 ms", f"Agenda: {_START}, processEvery 200 ms, p50 ms"),
    (f"Tocsin: {_START}, p50 ms", f"Agenda: {_START}, processEvery 5 s, change streams, p50 ms"),
    ("Tocsin: unary schedules/s, plain stubs", _ONE_BY_ONE),
    ("Tocsin: batch schedules/s", _INSERTS),
    (_RUN, "limit: claim 20 by find and update_many, and finish, jobs/s"),
    ("Agenda: schedules/s", _ONE_BY_ONE),
    ("Agenda: no-op jobs run/s, processEvery 5 s", "limit: claim one by one, find_one_and_update, jobs/s"),
]


def markdown(
    about: Mapping[str, Any],
    figures: Mapping[str, Figure],
    spendings: Sequence[Spending],
    *,
    not_run: Sequence[str],
    shortfalls: Sequence[str],
) -> str:
    """What was not run, figures, ratios, and commands."""
    lines = ["# Tocsin on a MongoDB-wire server, measured", "", WARNING, ""]
    for trouble in not_run:
        lines += [f"**NOT RUN: {trouble}.** Put node (18 or later) and npm on PATH, and run again.", ""]
    lines += [", ".join(f"{name} {value}" for name, value in about.items()), ""]
    lines += report.figure_table(figures, "server or Node")
    costs = report.cost_ratios(figures, PAIRS)
    lines += ["| ratio | | of store µs/job |", "|---|---:|---:|"]
    for name, value in report.ratios(figures, PAIRS).items():
        lines.append(f"| {name} | {value:.2f} | {f'{costs[name]:.2f}' if name in costs else ''} |")
    lines.append("")
    if shortfalls:
        lines += ["Not ended in the time it had (the figure is of what was done until then), or with errors:", ""]
        lines += [*(f"- {one}" for one in shortfalls), ""]
    lines += ["| program, step | commands | of which (statements, ms until answered) |", "|---|---:|---|"]
    lines += [*map(_row, spendings), "", _OF_COMMANDS, ""]
    return "\n".join(lines)


def plain(
    about: Mapping[str, Any],
    figures: Mapping[str, Figure],
    spendings: Sequence[Spending],
    *,
    not_run: Sequence[str],
    shortfalls: Sequence[str],
) -> dict[str, Any]:
    """The same, with every round's value, as JSON takes it."""
    return {
        "about": about,
        "not_run": list(not_run),
        "figures": report.plain_figures(figures),
        "ratios": report.ratios(figures, PAIRS),
        "ratios_of_store_us_per_job": report.cost_ratios(figures, PAIRS),
        "not_ended": list(shortfalls),
        "commands": [
            {
                "program": one.program,
                "step": one.step,
                "of": one.of,
                "unit": one.unit,
                "commands": {
                    name: {"commands": tally.commands, "statements": tally.statements, "seconds": tally.seconds}
                    for name, tally in one.tallies.items()
                },
            }
            for one in spendings
        ],
    }


def _row(spending: Spending) -> str:
    most_first = sorted(spending.tallies.items(), key=lambda item: -item[1].commands)
    shown = []
    for name, tally in most_first:
        inside = [f"{tally.statements / spending.of:.2f} statements"] if tally.statements > tally.commands else []
        inside.append(f"{1000 * tally.seconds / spending.of:.1f} ms")
        shown.append(f"{name} {tally.commands / spending.of:.3g} ({', '.join(inside)})")
    return f"| {spending.program}, {spending.step} | {spending.commands:.3g} a {spending.unit} | {'; '.join(shown)} |"
