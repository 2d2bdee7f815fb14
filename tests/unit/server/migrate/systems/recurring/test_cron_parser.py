"""Lines of cron-parser's, written as lines of this side."""

from __future__ import annotations

import pytest
from tocsin_server.domain.schedules.cron_line import CronLine
from tocsin_server.migrate.systems.recurring.cron_parser import as_here, knows_no_zone


@pytest.mark.parametrize(
    ("line", "here"),
    [
        ("0 3 * * *", "0 3 * * *"),
        ("  0   0 3 * * * ", "0 0 3 * * *"),
        ("0 9 ? * MON", "0 9 * * MON"),
        ("0 9 L * ?", "0 9 L * *"),
        ("0 9 */2 * *", "0 9 */2 * *"),
        ("0 9 */2 * MON", "0 9 1-31/2 * MON"),
        ("0 9 1 * */2", "0 9 1 * 0-6/2"),
        ("@daily", "@daily"),
        ("@Weekdays", "0 0 * * 1-5"),
        ("@secondly", "* * * * * *"),
    ],
)
def test_what_reads_otherwise_here_is_written_out(line: str, here: str) -> None:
    assert as_here(line) == here
    CronLine(as_here(line))


@pytest.mark.parametrize("line", ["", "soon", "1 2 3 4", "1 2 3 4 5 6 7"])
def test_what_it_would_not_read_stays(line: str) -> None:
    assert as_here(line) == line


def test_a_line_of_each_hour_knows_no_zone() -> None:
    assert all(map(knows_no_zone, ["*/5 * * * *", "30 */5 * * * *"]))
    assert not any(map(knows_no_zone, ["0 9 * * *", "*/5 * * * MON", "@hourly", ""]))
