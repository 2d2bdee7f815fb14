"""Names that who moves wants for queues and types, in the place of those that they would have."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from functools import lru_cache

from tocsin.payloads import TYPED_PAYLOADS

from tocsin_server.migrate.systems.foreign import Foreign

_NAME = re.compile(r"[A-Za-z0-9._-]{1,100}\Z")
_BUILT_IN = frozenset(TYPED_PAYLOADS.values())


class CannotName(ValueError):
    """A mapping that cannot be used; the message says why."""


@dataclass(frozen=True)
class Naming:
    """Queues by the name that they would have here; types by a pattern of the name that they would have, the first one
    that matches."""

    queues: Mapping[str, str] = field(default_factory=dict)
    types: Sequence[tuple[str, str]] = ()

    def queue(self, name: str) -> str:
        """The queue that a queue becomes."""
        return self.queues.get(name, name)

    def applied(self, foreign: Foreign) -> Foreign:
        """The same thing under these names."""
        spec = foreign.spec
        if spec is None:
            return foreign
        laned = replace(foreign, lane=spec.queue)
        queue, type_ = self.queue(spec.queue), self._type(spec.type)
        if (queue, type_) == (spec.queue, spec.type):
            return laned
        return laned.with_spec(replace(spec, queue=queue, type=type_))

    def _type(self, name: str) -> str:
        if not self.types:
            return name
        return _first(tuple(self.types), name)


@lru_cache(maxsize=10_000)
def _first(types: Sequence[tuple[str, str]], name: str) -> str:
    return next((type_ for pattern, type_ in types if fnmatchcase(name, pattern)), name)


def naming_of(queues: Sequence[str], types: Sequence[str]) -> Naming:
    """From "OLD=NEW" and "PATTERN=TYPE". CannotName."""
    named = Naming(dict(_pair("--queue-map", one) for one in queues), [_pair("--type-map", one) for one in types])
    for _, type_ in named.types:
        if type_ in _BUILT_IN:
            raise CannotName(f"--type-map: {type_} is a built-in type, with a payload of its own")
    return named


def _pair(option: str, text: str) -> tuple[str, str]:
    old, equals, new = text.partition("=")
    if not (old and equals and _NAME.match(new)):
        raise CannotName(f"{option}: {text!r} is not OLD=NEW, where NEW has 1 to 100 characters of A-Z a-z 0-9 . _ -")
    return old, new
