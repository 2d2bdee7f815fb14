"""Agenda's job names as types: any text is a name there, here a type is 1 to 100 of A-Z a-z 0-9 . _ - ."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable

from tocsin.payloads import TYPED_PAYLOADS

from tocsin_server.domain import limits

#: Names that are remembered to tell which would fall together; with more of them, every changed one gets its digest.
MOST_NAMES = 10_000

#: Characters of the longest name that is remembered; a longer one gets its digest.
LONGEST = 1_000

_FITS = re.compile(r"[A-Za-z0-9._-]{1,100}\Z")
_FOREIGN = re.compile(r"[^A-Za-z0-9._-]+")
_DIGITS = 12  # 48 bits of SHA-256: among 10,000 names the chance of two alike is 2 in 10 million
_BUILT_IN = frozenset(TYPED_PAYLOADS.values())


class TypeNames:
    """The type of each name, made from all names that stand in the source, so that no two fall together.

    A name that fits is its own type, but for those of the built-in types, whose handlers would take its jobs: they get
    "agenda." before them. In another, each run of other characters becomes "_": "send email" is send_email. Where a
    second name would have the same type, or nothing readable is left, a digest of the name is added.
    """

    def __init__(self, names: Iterable[str]) -> None:
        known: set[str] = set()
        self._crowded = False
        for name in names:
            if len(known) == MOST_NAMES:
                self._crowded = True
                break
            known.add(name)
        takers = Counter(map(_readable, known))
        self._types = {name: self._choose(name, takers) for name in known if not _stays(name)}

    def type_of(self, name: str) -> str:
        """The type of a name. One that came after the names were read has its digest."""
        if _stays(name):
            return name
        known = self._types.get(name) if len(name) <= LONGEST else None
        return known or _with_digest(name)

    def _choose(self, name: str, takers: Counter[str]) -> str:
        readable = _readable(name)
        alone = readable and len(readable) <= limits.NAME_CHARACTERS and takers[readable] == 1
        return readable if alone and not self._crowded else _with_digest(name)


def schedule_id(name: str, source_id: str, *, single: bool) -> str:
    """The id of the schedule that a document becomes: its name, where that fits and Agenda sees to it that no other has
    it (`single`); else with a digest. The same in every run, whatever else stands there."""
    if single and fits(name):
        return name
    digest = hashlib.sha256((name if single else f"{name}\n{source_id}").encode(errors="surrogateescape")).hexdigest()
    readable = _FOREIGN.sub("_", name).strip("_")[: limits.NAME_CHARACTERS - _DIGITS - 1]
    return f"{readable or 'job'}.{digest[:_DIGITS]}"


def fits(name: str) -> bool:
    """Whether it can be the name of a type or a queue."""
    return _FITS.match(name) is not None


def _stays(name: str) -> bool:
    return fits(name) and name not in _BUILT_IN


def _readable(name: str) -> str:
    readable = name if fits(name) else _FOREIGN.sub("_", name).strip("_")
    return f"agenda.{readable}" if readable in _BUILT_IN else readable


def _with_digest(name: str) -> str:
    digest = hashlib.sha256(name.encode(errors="surrogateescape")).hexdigest()[:_DIGITS]
    return f"{_readable(name)[: limits.NAME_CHARACTERS - _DIGITS - 1] or 'job'}.{digest}"
