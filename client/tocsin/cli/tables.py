"""Tables that fit: on a terminal columns give way until a line has room; elsewhere each is as wide as it needs."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field

from rich.console import Console
from rich.text import Text

_GAP = 2
_LEAST = 12  # columns that a shortened column keeps; with less it is left out


@dataclass(slots=True)
class Column:
    """One column. `gives_way`: the first to is 1, the next 2, ...; 0 never, as an id has to be copied whole."""

    name: str
    gives_way: int = 0
    shortened: bool = False  # may lose its end before it goes as a whole
    cells: list[Text] = field(default_factory=list)

    @property
    def width(self) -> int:
        """Of its widest cell."""
        return max(len(self.name), *(cell.cell_len for cell in self.cells)) if self.cells else len(self.name)


def terminal() -> Console | None:
    """The terminal that is printed to, None where that is a file or a pipe."""
    return Console() if sys.stdout.isatty() else None


def print_table(columns: Sequence[Column]) -> None:
    """Print it, with a header. No cell is folded: where even the ids are too long, the terminal breaks the lines."""
    screen = terminal()
    console = screen or Console(width=100_000)
    for line in lines(columns, None if screen is None else screen.width):
        console.print(line, soft_wrap=True)


def lines(columns: Sequence[Column], room: int | None) -> list[Text]:
    """The header and a line for each row, in `room` columns of a terminal (None: any number)."""
    kept = list(columns)
    widths = {column.name: column.width for column in kept}
    if room is not None:
        _fit(kept, widths, room)
    rows = max((len(column.cells) for column in kept), default=0)
    header = [Text(column.name, "dim") for column in kept]
    return [
        _line(cells, [widths[column.name] for column in kept])
        for cells in (header, *([column.cells[row] for column in kept] for row in range(rows)))
    ]


def _fit(kept: list[Column], widths: dict[str, int], room: int) -> None:
    for column in sorted((column for column in kept if column.gives_way), key=lambda column: column.gives_way):
        over = sum(widths[one.name] + _GAP for one in kept) - _GAP - room
        if over <= 0:
            return
        least = max(_LEAST, len(column.name))
        if column.shortened and widths[column.name] - over >= least:
            widths[column.name] -= over
        else:
            kept.remove(column)


def _line(cells: Sequence[Text], widths: Sequence[int]) -> Text:
    line = Text()
    for place, (cell, width) in enumerate(zip(cells, widths, strict=True)):
        fitted = cell.copy()
        fitted.truncate(width, overflow="ellipsis")
        line.append_text(fitted)
        if place < len(cells) - 1:
            line.append(" " * (width - fitted.cell_len + _GAP))
    line.rstrip()
    return line
