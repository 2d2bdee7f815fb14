"""What answers say of jobs in other queues than that of the job shown: whom it waits for, and what follows it.

Of those in queues that the caller does not reach nothing is said but that there are such.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from tocsin_server.domain.dependencies import PARENT_FAILED

#: What `said_of` says of a parent (domain/dependencies.py), as an error's message or a cancel's reason.
_OF_PARENT = re.compile(
    rf"(?P<why>(?:{PARENT_FAILED}: )?)job '.*' in queue '(?P<queue>[^']*)'(?P<how>, which .*)", re.S
)


def hide_waited_for(explanation: Any, reaches: Callable[[str], bool]) -> None:
    """Leave out of an Explanation the jobs that stand in queues which are not reached."""
    shown = [one for one in explanation.job_ids if "/" not in one or reaches(one.partition("/")[0])]
    if len(shown) < len(explanation.job_ids):
        explanation.job_ids[:] = shown
        explanation.sentence = "It waits for jobs to end, some of them in queues that you do not reach."


def without_foreign_parent(text: str, reaches: Callable[[str], bool]) -> str:
    """The text, which names no parent in a queue that is not reached."""
    said = _OF_PARENT.fullmatch(text)
    if said is None or reaches(said["queue"]):
        return text
    return f"{said['why']}a job in a queue that you do not reach{said['how']}"
