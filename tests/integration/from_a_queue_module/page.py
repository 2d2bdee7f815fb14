"""docs/from-a-queue-module.md, read: its tables, and the code between them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from support.source_tree import ROOT

PAGE = ROOT / "docs/from-a-queue-module.md"
#: The address that the page writes.
ADDRESS = "localhost:50051"

_RUN_BY = re.compile(r"^Run by \[(\w+\.py)\]\(\.\./tests/integration/from_a_queue_module/(\w+\.py)\)", re.MULTILINE)
_NEVER_A_ROW = ("there", "what is seen", "---")  # first cells of what stands above the rows
_CELLS = 3


@dataclass(frozen=True, slots=True)
class Row:
    """What one had, the lines that do it here, and the test that runs them."""

    section: str
    had: str
    lines: tuple[str, ...]
    test: str


@dataclass(frozen=True, slots=True)
class Section:
    """A table under its heading, and the file that has its tests."""

    title: str
    file: str
    rows: tuple[Row, ...]


def sections() -> list[Section]:
    """All tables of the page, in order. AssertionError where one cannot be read."""
    found = []
    for part in re.split(r"^## ", PAGE.read_text(), flags=re.MULTILINE)[1:]:
        title = part.partition("\n")[0]
        rows = tuple(_rows(title, part))
        if not rows:
            continue
        files = _RUN_BY.search(part)
        assert files is not None, f"{title}: nothing says which file runs its rows"
        assert files[1] == files[2], f"{title}: the link reads {files[1]} and leads to {files[2]}"
        found.append(Section(title, files[1], rows))
    return found


def row_of(test: str) -> Row:
    """The row that names this test."""
    [row] = [row for section in sections() for row in section.rows if row.test == test]
    return row


def code(language: str) -> list[str]:
    """The page's blocks of code in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)


def _rows(title: str, part: str) -> Iterator[Row]:
    for text in part.splitlines():
        if not text.startswith("|"):
            continue
        cells = [cell.strip() for cell in text.strip("|").split("|")]
        assert len(cells) == _CELLS, f"{title}: not {_CELLS} cells in {text}"
        had, here, test = cells
        if had.startswith(_NEVER_A_ROW):
            continue
        named = re.fullmatch(r"`(test_\w+)`", test)
        assert named is not None, f"{title}: no test is named in {text}"
        yield Row(title, had, tuple(_lines(here)), named[1])


def _lines(cell: str) -> Iterator[str]:
    """The parts of a cell that are code and nothing else; code within words is read, not run."""
    for part in cell.split("<br>"):
        if line := re.fullmatch(r"`([^`]+)`", part.strip()):
            yield line[1]
