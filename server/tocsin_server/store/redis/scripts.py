"""The Lua scripts: loaded from their files, helpers included, run by hash.

Redis runs a script's text from its first line on, each time: every function in it is made anew, with all that it refers
to, which cost a call of add, claim or finish 10 µs. So a script is sent with what it needs and no more: constants stand
where they are used, and functions that nothing calls are left out.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from datetime import timedelta
from functools import cache
from importlib import resources
from typing import Any

from redis.exceptions import NoScriptError

from tocsin_server.domain import limits
from tocsin_server.store.redis.connection.connection import RedisConnection

_INCLUDE = re.compile(r"^--- @include (.+)$", re.MULTILINE)
_COMMENT = re.compile(r"^ *--.*\n", re.MULTILINE)
_LITERAL = r"(?:-?\d+|'[^'\n]*')"
_CONSTANTS = re.compile(
    rf"^local ([A-Z][A-Z\d_]*(?:, [A-Z][A-Z\d_]*)*) = ({_LITERAL}(?:, {_LITERAL})*)\n", re.MULTILINE
)
#: A function of the script's first level, or a value that has a constant's name.
_DEFINITION = re.compile(r"^local (?:function (\w+)\(.*\n(?:.*\n)*?end|([A-Z][A-Z\d_]*) = .*)\n", re.MULTILINE)
_FOLDER = resources.files(__package__) / "lua"
#: Scripts that write nothing: an answer that does not come leaves no doubt about what they did.
READ_ONLY = frozenset({"cursor", "figures", "get", "notes", "page", "ping", "workers"})


def names() -> list[str]:
    """Names of all scripts."""
    return sorted(entry.name.removesuffix(".lua") for entry in _FOLDER.iterdir() if entry.name.endswith(".lua"))


@cache
def _text(path: str) -> str:
    return (_FOLDER / path).read_text()


def source(name: str, constants: Mapping[str, int]) -> str:
    """A script as Redis gets it: its first line, then the helpers and its own text, made lean."""
    first, _, body = _text(f"{name}.lua").partition("\n")
    given = "".join(f"local {constant} = {value}\n" for constant, value in sorted(constants.items()))
    found = _INCLUDE.search(body)
    wanted = found[1].split() if found else []
    helpers = "".join(_text(f"{helper}.lua") for helper in wanted)
    return f"{first}\n{lean(given + helpers + body)}"


def lean(text: str) -> str:
    """The same script without comments, names of constants, and definitions that nothing refers to."""
    text = _COMMENT.sub("", text)
    values: dict[str, str] = {}
    for names_, literals in _CONSTANTS.findall(text):
        values.update(zip(names_.split(", "), re.findall(_LITERAL, literals), strict=True))
    text = _CONSTANTS.sub("", text)
    if values:
        # Not in strings, and not the name of a table's field.
        name = rf"(?<![\w.'])({'|'.join(map(re.escape, values))})(?![\w'])"
        text = re.sub(name, lambda found: values[found[1]], text)
    while unused := [found for found in _DEFINITION.finditer(text) if not _used(text, found)]:
        for found in reversed(unused):
            text = text[: found.start()] + text[found.end() :]
    return text


def _used(text: str, definition: re.Match[str]) -> bool:
    name = re.compile(rf"\b{definition[1] or definition[2]}\b")
    return bool(name.search(text, 0, definition.start()) or name.search(text, definition.end()))


class Scripts:
    """Runs the scripts on one connection."""

    def __init__(
        self, connection: RedisConnection, *, events_max: int, events_age: timedelta, jobs_max: int = 0
    ) -> None:
        self._connection = connection
        constants = {
            "EVENTS_MAX": events_max,
            "EVENTS_AGE_MS": int(events_age.total_seconds() * 1000),
            "JOBS_PER_QUEUE": jobs_max,
            "MAX_CRASHES": limits.MAX_CRASHES,
            "MAX_LEASES_LOST": limits.MAX_LEASES_LOST,
            "JOB_SPEC_BYTES": limits.JOB_SPEC_BYTES,
            "TYPES_PER_QUEUE": limits.TYPES_PER_QUEUE,
        }
        self._sources = {name: source(name, constants) for name in names()}
        # The name Redis gives a script, not a safeguard.
        self._hashes = {
            name: hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest() for name, text in self._sources.items()
        }

    async def run(self, name: str, key: str, *arguments: bytes | str | int | float) -> Any:
        """Run a script on one key and what hangs under it; its answer as Redis gave it.

        A script that the server does not know (it restarted, or is new in a cluster) did not run: it is sent whole.
        """
        read_only = name in READ_ONLY
        try:
            return await self._connection.execute(
                "EVALSHA", self._hashes[name], 1, key, *arguments, read_only=read_only
            )
        except NoScriptError:
            return await self._connection.execute("EVAL", self._sources[name], 1, key, *arguments, read_only=read_only)
