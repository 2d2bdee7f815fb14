"""Which store is meant, where settings of several are at hand.

A provider that is named decides, else the address that is given. The origin's .env files hold the addresses of both
stores and switch by QUEUE_PROVIDER, so what the chosen store has no use for is let be, unread: even a wrong value of it
is no error. A flag is no leftover, so there it is one.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from tocsin_server.settings.fields import Place
from tocsin_server.settings.sources import Given
from tocsin_server.settings.store import ADDRESS, BELONGS, KINDS, StoreKind

_PROVIDER = ("store", "provider")
_URL = ("store", "url")
_PARTS = ("host", "port", "password", "db")  # of an address, which a whole one goes before


@dataclass(frozen=True, slots=True)
class Choice:
    """What is used of what was given; why the rest is not; and what is wrong with it, a line each.

    `because` is the source that chose the store, "" where none did.
    """

    used: Mapping[Place, Given]
    unused: Mapping[Place, str] = field(default_factory=dict)
    wrong: tuple[str, ...] = ()
    because: str = ""


def choose(given: Mapping[Place, Given]) -> Choice:
    """Choose the store, and what is used with it."""
    named = given.get(_PROVIDER)
    if named is not None:
        kind = KINDS.get(named.value) if isinstance(named.value, str) else None
        if kind is None:  # said where all values are checked; for which store the others are is not known
            return Choice(_leaving_out(given, [_place(name) for name in BELONGS]))
        return _chosen(given, kind, named.source)

    addresses = {name: given[_place(name)] for name in ADDRESS if _place(name) in given}
    by_flags = {name: entry for name, entry in addresses.items() if entry.flag}
    first: dict[StoreKind, str] = {}  # the source that names each kind
    for name, entry in (by_flags or addresses).items():
        first.setdefault(ADDRESS[name], entry.source)
    if len(first) > 1:
        way_out = "leave one of them out" if by_flags else "set QUEUE_PROVIDER to redis or to mongo"
        line = f"{' and '.join(first.values())} name two stores: {way_out}"
        return Choice(_leaving_out(given, [_place(name) for name in BELONGS]), wrong=(line,))
    for only, source in first.items():
        return _chosen(given, only, source)
    return _chosen(given, "embedded", "")


def _chosen(given: Mapping[Place, Given], kind: StoreKind, because: str) -> Choice:
    unused, wrong = {}, []
    why, way_out = f"{because} says {kind}", "leave one of the two out"
    if not because:
        why, way_out = "no store is named, which means embedded", "name one with QUEUE_PROVIDER, or leave it out"
    for name, kinds in BELONGS.items():
        entry = given.get(_place(name))
        if entry is None or kind in kinds:
            continue
        if entry.flag:
            wrong.append(f"{entry.source}: for {' or '.join(kinds)} only, but {why}; {way_out}")
        unused[_place(name)] = why
    if kind == "redis" and _URL in given:
        for name in _PARTS:
            if _place(name) in given:
                unused[_place(name)] = f"{given[_URL].source} goes before it"
    return Choice(_leaving_out(given, unused), unused, tuple(wrong), because)


def _place(name: str) -> Place:
    return ("store", name)


def _leaving_out(given: Mapping[Place, Given], places: Collection[Place]) -> dict[Place, Given]:
    return {place: entry for place, entry in given.items() if place not in places}
