"""The comparison as one picture: a panel a figure, a bar a system. SVG, written by hand."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from bench import report
from bench.peers.table import RATES, TIMES, Column
from bench.peers.turns import TOCSIN, Comparison, Measured

_SHOWN = {
    "bulk schedules/s": "Bulk schedules a second",
    "single schedules/s": "Single schedules a second, 100 callers",
    "no-op jobs run/s": "No-op jobs a second, one worker process",
    "cancels/s": "Cancels a second",
    "schedule to start, idle, p50 ms": "Schedule to start, idle: median, ms (less is better)",
    "schedule to start, idle, p99 ms": "The same: 99th percentile, ms (less is better)",
    "due at once, late p99 ms": "Many due at once: 99th percentile late, ms (less is better)",
    "bytes in Redis a waiting job": "Bytes in Redis a waiting job (less is better)",
}
_APART = f"{TOCSIN}, "
_ACROSS, _PANEL, _GAP = 2, 430, 24
_LABEL, _VALUE, _BAR, _TITLE = 118, 64, 18, 30
_OURS, _THEIRS, _INK, _FAINT = "#c2410c", "#94a3b8", "#1e293b", "#64748b"


def svg(found: Comparison) -> str:
    """The picture."""
    columns = [column for column in [*RATES, *TIMES] if column.name in _SHOWN]
    systems = [one for one in found.systems if one.rounds]
    tall = _TITLE + _BAR * len(systems) + _GAP
    width = _GAP + _ACROSS * (_PANEL + _GAP)
    height = _GAP + -(-len(columns) // _ACROSS) * tall
    panels = []
    for number, column in enumerate(columns):
        down, right = divmod(number, _ACROSS)
        panels.append(
            f'<g transform="translate({_GAP + right * (_PANEL + _GAP)},{_GAP + down * tall})">'
            f"{''.join(_panel(column, systems))}</g>"
        )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'font-family="system-ui, sans-serif" font-size="12" role="img" aria-label="Tocsin beside other queues">'
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>{"".join(panels)}</svg>\n'
    )


def _panel(column: Column, systems: Sequence[Measured]) -> list[str]:
    room = _PANEL - _LABEL - _VALUE
    medians = {one.name: one.figures[column.name].median for one in systems if column.name in one.figures}
    longest = max([*medians.values(), 1e-9])
    parts = [f'<text y="12" font-weight="600" fill="{_INK}">{escape(_SHOWN[column.name])}</text>']
    # Tocsin with a worker apart adds and cancels as Tocsin does.
    shown = [one for one in systems if one.name in medians or not one.name.startswith(_APART)]
    for row, one in enumerate(shown):
        top = _TITLE + row * _BAR
        ours = one.name.startswith(TOCSIN)
        weight = ' font-weight="600"' if ours else ""
        name = escape(one.name.removeprefix(_APART))
        parts.append(f'<text x="{_LABEL - 8}" y="{top}" text-anchor="end" fill="{_INK}"{weight}>{name}</text>')
        value = medians.get(one.name)
        if value is None:
            said = "cannot" if column.work in one.cannot else "no figure"
            parts.append(f'<text x="{_LABEL}" y="{top}" fill="{_FAINT}" font-style="italic">{said}</text>')
            continue
        long = max(1.0, room * max(0.0, value) / longest)
        colour = _OURS if ours else _THEIRS
        parts.append(f'<rect x="{_LABEL}" y="{top - 10}" width="{long:.1f}" height="12" rx="2" fill="{colour}"/>')
        said = report.number(value) + (" (early)" if value < 0 else "")
        parts.append(f'<text x="{_LABEL + long + 6:.1f}" y="{top}" fill="{_INK}"{weight}>{said}</text>')
    return parts
