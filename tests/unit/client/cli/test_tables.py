"""A table fits its terminal, and never costs an id."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from rich.text import Text
from tocsin.cli.tables import Column, lines
from tocsin.cli.texts import counted, from_now, one_line

ID = "01a22311-b975-84b5-a700-000000000e8d"
NOW = datetime(2030, 1, 1, tzinfo=UTC)


def table() -> list[Column]:
    columns = [
        Column("ID"),
        Column("TYPE", gives_way=2, shortened=True),
        Column("ERROR", gives_way=1, shortened=True),
    ]
    for column, text in zip(columns, (ID, "t" * 30, "e" * 60), strict=True):
        column.cells.append(Text(text))
    return columns


def said(room: int | None) -> list[str]:
    return [line.plain for line in lines(table(), room)]


@pytest.mark.parametrize("room", range(36, 140))
def test_a_line_has_room_and_its_id_is_whole(room: int) -> None:
    header, row = said(room)
    assert len(header) <= room
    assert len(row) <= room
    assert row.startswith(ID)


def test_columns_are_shortened_first_and_then_left_out_in_their_order() -> None:
    assert said(None)[1] == f"{ID}  {'t' * 30}  {'e' * 60}"
    assert said(100)[1] == f"{ID}  {'t' * 30}  {'e' * 29}…"
    assert said(72)[1] == f"{ID}  {'t' * 30}"
    assert said(60)[1] == f"{ID}  {'t' * 21}…"
    assert said(45)[1] == ID
    assert said(10)[1] == ID  # the terminal breaks it; copied, it is whole


def test_wide_letters_count_twice() -> None:
    columns = [Column("A", gives_way=1, shortened=True), Column("B")]
    columns[0].cells.append(Text("漢" * 20))
    columns[1].cells.append(Text("b"))
    [_, row] = lines(columns, 20)
    assert row.cell_len <= 20
    assert row.plain.endswith("b")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "now"), (3, "in 3 s"), (-125, "2 m ago"), (59.9, "in 59 s"), (7200, "in 2 h"), (-86_400 * 40, "40 d ago")],
)
def test_times_are_told_from_now(seconds: float, text: str) -> None:
    assert from_now(NOW + timedelta(seconds=seconds), NOW) == text


def test_one_is_one() -> None:
    assert [counted(number, "job") for number in (0, 1, 2, 1000)] == ["0 jobs", "1 job", "2 jobs", "1,000 jobs"]


def test_a_value_stays_on_its_line() -> None:
    assert one_line("a\nb\r\tc\x9b\u2028ü") == "a\\nb\\r\\tc\\x9b\\u2028ü"
