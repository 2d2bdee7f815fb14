"""Page and tests are of one piece: each row is run by the test it names, and no test is left over."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from integration.from_a_queue_module.page import Section, sections

HERE = Path(__file__).parent
SECTIONS = sections()


def functions_of(file: Path) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    """The tests of a file, in order."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return [
        node for node in ast.parse(file.read_text()).body if isinstance(node, kinds) and node.name.startswith("test_")
    ]


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.title)
def test_each_row_is_run_by_the_test_it_names_and_no_test_is_left_over(section: Section) -> None:
    assert [test.name for test in functions_of(HERE / section.file)] == [row.test for row in section.rows]


def test_each_file_has_its_section() -> None:
    files = sorted(path.name for path in HERE.glob("test_*.py") if path != Path(__file__))
    assert sorted(section.file for section in SECTIONS) == files


def test_each_row_says_what_one_had_and_has_a_line_to_run() -> None:
    rows = [row for section in SECTIONS for row in section.rows]
    assert len(rows) > 90, "the tables were not read"
    assert [row.test for row in rows if not row.had or not row.lines] == []


@pytest.mark.parametrize("file", sorted({section.file for section in SECTIONS}))
def test_each_test_takes_its_lines_from_the_page(file: str) -> None:
    # Whoever has the fixture has to run all lines of the row (conftest.pytest_runtest_call).
    without = [test.name for test in functions_of(HERE / file) if "lines" not in {arg.arg for arg in test.args.args}]
    assert without == []
