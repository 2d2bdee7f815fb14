"""Pages of a job's lines, and the cursors between them: "<arrival of the job>.<number of the last line seen>"."""

from __future__ import annotations

import re
from collections.abc import Iterable

from tocsin_server.domain.errors import InvalidFields, Violation
from tocsin_server.domain.logs import LoggedLine, LogPage

_CURSOR = re.compile(r"([0-9]{1,15})\.([0-9]{1,10})")


def read_place(cursor: str) -> tuple[int, int]:
    """The job's arrival, and how many of its lines were seen; (0, 0) where none was. InvalidFields."""
    if not cursor:
        return 0, 0
    if not (found := _CURSOR.fullmatch(cursor)):
        raise InvalidFields(
            [Violation("cursor", "is not a cursor of this server; give one from a ListJobLogs answer, or none")]
        )
    return int(found[1]), int(found[2])


def page_of(
    arrival: int, seen: int, last: int, lines: Iterable[tuple[int, LoggedLine]], *, attempt: int = 0
) -> LogPage:
    """The page after `seen` lines of `last`, from lines by number in order; of one attempt, or of all (0)."""
    found = []
    for number, line in lines:
        if number > seen + 1:
            found.append(LoggedLine(line.time, 0, 0, "", dropped=number - seen - 1))
        seen = number
        if attempt in (0, line.attempt):
            found.append(line)
    return LogPage(tuple(found), f"{arrival}.{seen}", more=seen < last)
