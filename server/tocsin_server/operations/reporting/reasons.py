"""Why jobs failed: by type, class of the error, and what it said."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from tocsin_server.domain.job import Job, JobError
from tocsin_server.domain.states import State

#: Ids, numbers and addresses in memory differ from job to job where the reason is the same.
_VARIES = re.compile(
    # But what a server answers, which is the reason.
    r"(?P<answer>\b(?:answers?|answered|refused|status|code|HTTP)(?: [^:0-9]{1,60}:)? [1-5][0-9]{2}\b(?![.:/-]?[0-9]))|"
    r"0[xX][0-9A-Fa-f]+|\b[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}\b|\d+"
)
_CHARACTERS = 200
#: Controls, which steer terminals, and formats, which turn the direction of text.
_UNSEEN = frozenset({"Cc", "Cf"})
_CANCELLED = "CANCELLED"  # the word of the worker runtime for an attempt that was cancelled: no failure


@dataclass(slots=True)
class Reason:
    """One reason, and how often. In `message` numbers and ids are written #."""

    type: str
    error: str
    message: str
    jobs: int = 0  # FAILED with it as their last error
    attempts: int = 0  # that failed with it, and the job went on
    last: datetime | None = None  # end of the last such job


class Reasons:
    """The first `most` different reasons that are met; the rest are counted together."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._found: dict[tuple[str, str, str], Reason] = {}
        self.others = Reason("", "", "")

    def add(self, job: Job, type_: str) -> None:
        """Count the errors of one job that has ended: those that it still has, the first and the last nine."""
        last_is_the_end = job.state is State.FAILED
        for place, error in enumerate(job.errors, start=1):
            if error.type == _CANCELLED:
                continue
            reason = self._reason(type_, error)
            if last_is_the_end and place == len(job.errors):
                reason.jobs += 1
            else:
                reason.attempts += 1
            if job.end_time is not None:
                reason.last = max(reason.last or job.end_time, job.end_time)

    def _reason(self, type_: str, error: JobError) -> Reason:
        key = (type_, _seen(error.type)[:_CHARACTERS], pattern(error.message))
        found = self._found.get(key)
        if found is None:
            if len(self._found) >= self._most:
                return self.others
            found = self._found[key] = Reason(*key)
        return found

    def __iter__(self) -> Iterator[Reason]:
        """Those that ended most jobs first."""
        return iter(self.ordered())

    def ordered(self) -> Sequence[Reason]:
        """Those that ended most jobs first."""
        return sorted(self._found.values(), key=lambda r: (-r.jobs, -r.attempts, r.type, r.error, r.message))

    def __len__(self) -> int:
        return len(self._found)


def _seen(text: str) -> str:
    """Line breaks stay: whoever shows them knows what to do with them."""
    return "".join(
        " " if unicodedata.category(letter) in _UNSEEN and letter not in "\n\r\t" else letter for letter in text
    )


def pattern(message: str) -> str:
    """What messages of one reason have in common, on one line."""
    line = " ".join(_VARIES.sub(lambda found: found["answer"] or "#", _seen(message)).split())
    return line if len(line) <= _CHARACTERS else line[: _CHARACTERS - 1] + "…"
