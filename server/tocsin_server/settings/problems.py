"""What is said of settings that are wrong: a line each, with where it came from, and nothing of a secret."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence

from pydantic import ValidationError

from tocsin_server.settings.fields import Place, all_fields, dotted


class SettingsError(Exception):
    """Settings are wrong. `lines` has one sentence for each, which names the flag, variable or key; exit code 2."""

    def __init__(self, lines: Sequence[str]) -> None:
        self.lines = tuple(lines)
        super().__init__("\n".join(lines))


def explained(error: ValidationError, sources: Mapping[Place, str]) -> list[str]:
    """A line for each thing that is wrong. `sources` says where the value at a place came from."""
    known = [dotted(place) for place, _ in all_fields()]
    lines = []
    for problem in error.errors(include_url=False, include_input=False, include_context=False):
        place = tuple(str(part) for part in problem["loc"])
        source, rest = _source(place, sources)
        message = problem["msg"].removeprefix("Value error, ")
        if problem["type"] == "extra_forbidden":
            message = "there is no such setting" + did_you_mean(dotted(place), known)
        where = f"{source}, item {int(rest[0]) + 1}" if rest and rest[0].isdigit() else source
        lines.append(f"{where}: {message[:1].lower()}{message[1:]}")
    return lines


def _source(place: Place, sources: Mapping[Place, str]) -> tuple[str, Place]:
    """Where the value at a place came from, and what of the place lies within that value."""
    for length in range(len(place), 0, -1):  # ("queues", "0") was given as ("queues",)
        if place[:length] in sources:
            return sources[place[:length]], place[length:]
    # Settings of a group that do not fit together: named are those of the group that were given.
    given = sorted(source for path, source in sources.items() if path[: len(place)] == place)
    return ", ".join(given) or dotted(place), ()


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A hint at the name that is nearly this one, "" where there is none."""
    near = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {near[0]}?" if near else ""
