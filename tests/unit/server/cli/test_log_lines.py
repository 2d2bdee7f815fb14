"""Lines of the log, as `tocsin dev` shows them, hold all that a record has."""

from __future__ import annotations

from typing import Any

import pytest
from tocsin_server.cli.log_lines import LogLines

NOON = {"timestamp": "2026-11-30T12:00:00.5Z"}


def lines(event: dict[str, Any], *, colours: bool = False) -> list[str]:
    """Without the time, which is that of this machine's zone."""
    head, *below = LogLines(colours=colours)(None, "", {**NOON, **event}).split("\n")
    assert colours or head[2] == head[5] == ":"
    return [head if colours else head[9:], *below]


CALL = {"event": "call", "level": "info", "logger": "tocsin_server.api", "code": "OK", "ms": 1.5,
        "method": "/tocsin.v1.JobService/GetJob", "peer": "ipv4:127.0.0.1:5"}  # fmt: skip


@pytest.mark.parametrize(
    ("event", "line"),
    [
        (CALL, "· JobService/GetJob OK in 1.5 ms, called from 127.0.0.1:5"),
        (
            {**CALL, "code": "NOT_FOUND", "caller": "ada", "unlogged": 3},
            "! JobService/GetJob NOT_FOUND in 1.5 ms, called from 127.0.0.1:5 caller=ada unlogged=3",
        ),
        (
            {**CALL, "code": "INTERNAL", "level": "error", "peer": "unix:", "method": "/grpc.health.v1.Health/Check"},
            "✗ grpc.health.v1.Health/Check INTERNAL in 1.5 ms, called from unix:",
        ),
        ({"event": "call", "level": "info", "job": "a"}, "· call job=a"),
        (
            {"event": "the store\nis away", "level": "warning", "logger": "x", "error": 'no "way"', "n": [1, "a b"]},
            r'! the store\nis away (x) error="no \"way\"" n=[1, "a b"]',
        ),
        ({"event": "odd", "level": "critical", "a": "\x1b[2J", "b": None, "c": ""}, r'✗ odd a=\x1b[2J b=null c=""'),
    ],
)  # fmt: skip
def test_a_record_is_one_line_with_all_that_it_has(event: dict[str, Any], line: str) -> None:
    assert lines(event) == [line]


def test_a_trace_stands_below_it() -> None:
    event = {"event": "x", "level": "error", "exception": "Traceback\n  File \x1b", "stack": "Stack"}
    assert lines(event) == ["✗ x", "           Stack", "           Traceback", r"             File \x1b"]


def test_colours_are_for_a_terminal_alone() -> None:
    assert "\x1b[" in lines(CALL, colours=True)[0]
    assert "\x1b" not in lines(CALL)[0]
