"""The Lua scripts: loaded from their files, helpers included, run by hash."""

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
    """A script as Redis gets it: its first line, the constants, then its own text with each helper put in once."""
    first, _, body = _text(f"{name}.lua").partition("\n")
    given = "".join(f"local {constant} = {value}\n" for constant, value in sorted(constants.items()))
    found = _INCLUDE.search(body)
    wanted = found[1].split() if found else []
    helpers = "".join(_text(f"{helper}.lua") for helper in wanted)
    return f"{first}\n{given}{helpers}{_INCLUDE.sub('', body)}"


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
