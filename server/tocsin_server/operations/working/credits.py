"""What a stream may still be sent. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping


class Credits:
    """Rights to be sent jobs; each job takes one.

    Credits of a type are taken by its jobs alone. Where credits without a type were given, too, a job takes one of
    those besides, so that the whole and each type are bounded at once; a type without credits of its own takes those
    alone.
    """

    __slots__ = ("_any", "_typed")

    def __init__(self) -> None:
        self._any: int | None = None  # None: none without a type was ever given
        self._typed: dict[str, int] = {}  # of types that were ever given some

    def give(self, type_: str, count: int) -> None:
        """So many more; "": of any type."""
        if type_:
            self._typed[type_] = self._typed.get(type_, 0) + count
        else:
            self._any = (self._any or 0) + count

    @property
    def unused(self) -> int:
        """How many jobs may still be sent in all."""
        return sum(self._typed.values()) if self._any is None else self._any

    def given(self, type_: str) -> int:
        """How many are unused of those given for this type; "": of those for any."""
        return self._typed.get(type_, 0) if type_ else self._any or 0

    def of(self, types: Iterable[str]) -> Mapping[str, int]:
        """How many jobs of each type may still be sent; types of which none may are left out."""
        if not self._typed:  # nobody bounds any type by itself
            return dict.fromkeys(types, self._any) if self._any else {}
        left = {type_: self._left(type_) for type_ in types}
        return {type_: count for type_, count in left.items() if count > 0}

    def take(self, type_: str) -> bool:
        """A job of the type is sent. False: it may not be."""
        if self._left(type_) <= 0:
            return False
        if type_ in self._typed:
            self._typed[type_] -= 1
        if self._any is not None:
            self._any -= 1
        return True

    def take_back(self, type_: str) -> None:
        """A job of the type was not sent after all."""
        if type_ in self._typed:
            self._typed[type_] += 1
        if self._any is not None:
            self._any += 1

    def _left(self, type_: str) -> int:
        any_, typed = self._any, self._typed.get(type_)
        if typed is None:
            return any_ or 0
        return typed if any_ is None else min(any_, typed)
