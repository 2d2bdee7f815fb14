"""Turns of keys, without I/O: what a claim reads of a key, and how tags are given (turns.py)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tocsin_server.store.mongo.documents import Document
from tocsin_server.store.mongo.places import key_in
from tocsin_server.store.mongo.transitions import Standing

#: A multiple of the weights that are common; with others a share is rounded up.
ROUND = 27_720
BEST_FIRST = {"priority": -1, "due": 1, "arrival": 1}

#: Full keys, by type, "" of any (Rooms.full_keys).
FullKeys = Mapping[str, Sequence[str]]


@dataclass(slots=True)
class KeyTurn:
    """A key, when its turn is, and the best of its jobs that wait."""

    key: str
    types: frozenset[str]
    tag: int
    given: int
    stamp: int
    jobs: list[Standing]
    whole: bool  # it has no more than these

    @property
    def rank(self) -> tuple[int, int, str]:
        """The lowest has its turn."""
        return self.tag, self.given, self.key


def share(weight: int) -> int:
    """By how much a turn moves a key's tag on."""
    return math.ceil(ROUND / weight)


def weight_of(document: Mapping[str, Any]) -> int:
    """The weight that a job says its key has."""
    return int(document.get("conditions", {}).get("weight", 1))


def new_keys(places: Mapping[str, Any], jobs: Iterable[Mapping[str, Any]]) -> list[Document]:
    """Keys that have come, in the order of these jobs, and their tags: so much after the last turn, so who comes and
    goes gains nothing."""
    turn, given = int(places.get("turn", 0)), int(places.get("turns", 0))
    keys: dict[str, Document] = {}
    for job in jobs:
        name = key_in(job)
        if name not in keys:
            tag = turn + share(weight_of(job))
            keys[name] = {"key": name, "types": [], "tag": tag, "given": given + len(keys) + 1}
        if job["type"] not in keys[name]["types"]:
            keys[name]["types"].append(job["type"])
    return list(keys.values())
