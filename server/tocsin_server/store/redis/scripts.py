"""The Lua scripts: loaded from their files, helpers included, run by hash.

Redis runs a script's text from its first line on, each time: every function in it is made anew, with all that it refers
to, which cost a call of add, claim or finish 10 µs. So a script is sent with what it needs and no more: constants stand
where they are used, and functions that nothing calls are left out.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from functools import cache
from importlib import resources
from typing import Any, TypeAlias

from redis.exceptions import NoScriptError

from tocsin_server.domain import limits, sealed
from tocsin_server.domain.quotas import DEFAULT_QUOTAS, Quotas
from tocsin_server.store.calendar_store import PENDING
from tocsin_server.store.redis.connection.connection import RedisConnection

_INCLUDE = re.compile(r"^--- @include (.+)$", re.MULTILINE)
_COMMENT = re.compile(r"^ *--.*\n", re.MULTILINE)
_LITERAL = r"(?:-?\d+|'[^'\n]*')"
_CONSTANTS = re.compile(
    rf"^local ([A-Z][A-Z\d_]*(?:, [A-Z][A-Z\d_]*)*) = ({_LITERAL}(?:, {_LITERAL})*)\n", re.MULTILINE
)
#: A function of the script's first level, or a value that has a constant's name.
_DEFINITION = re.compile(r"^local (?:function (\w+)\(.*\n(?:.*\n)*?end|([A-Z][A-Z\d_]*) = .*)\n", re.MULTILINE)
_NAME, _WORD = re.compile(r"(?<![\w.'])[A-Z][A-Z\d_]*(?![\w'])"), re.compile(r"\w+")
_FOLDER = resources.files(__package__) / "lua"
#: Scripts that write nothing: an answer that does not come leaves no doubt about what they did.
READ_ONLY = frozenset(
    {
        "calendar_users",
        "calendars",
        "cursor",
        "due_schedules",
        "explain",
        "figures",
        "get",
        "logs",
        "next_look",
        "notes",
        "page",
        "ping",
        "schedules",
        "workers",
    }
)

#: Who is there and runs jobs says so as real time passes, also where the clock is moved by hand.
_OF_REAL_TIME = frozenset({"announce", "workers"})


def names() -> list[str]:
    """Names of all scripts."""
    return sorted(entry.name.removesuffix(".lua") for entry in _FOLDER.iterdir() if entry.name.endswith(".lua"))


@cache
def _text(path: str) -> str:
    return (_FOLDER / path).read_text()


def source(name: str, constants: Mapping[str, int | str]) -> str:
    """A script as Redis gets it: its first line, then the helpers and its own text, made lean."""
    return _source(name, tuple(sorted(constants.items())))


@cache  # it takes some milliseconds, and a process opens a store more than once
def _source(name: str, constants: tuple[tuple[str, int | str], ...]) -> str:
    first, _, body = _text(f"{name}.lua").partition("\n")
    given = "".join(f"local {constant} = {value!r}\n" for constant, value in constants)
    found = _INCLUDE.search(body)
    wanted = found[1].split() if found else []
    if "lib/clock" in wanted and ("MANUAL", 1) in constants and name not in _OF_REAL_TIME:
        wanted.insert(wanted.index("lib/clock") + 1, "lib/offset")
    helpers = "".join(_text(f"{helper}.lua") for helper in wanted)
    return f"{first}\n{lean(given + helpers + body)}"


def lean(text: str) -> str:
    """The same script without comments, names of constants, and definitions that nothing refers to."""
    text = _COMMENT.sub("", text)
    values: dict[str, str] = {}
    for names_, literals in _CONSTANTS.findall(text):
        values.update(zip(names_.split(", "), re.findall(_LITERAL, literals), strict=True))
    # Not in strings, and not the name of a table's field.
    text = _NAME.sub(lambda found: values.get(found[0], found[0]), _CONSTANTS.sub("", text))

    definitions = list(_DEFINITION.finditer(text))
    needed = set(_WORD.findall(_DEFINITION.sub("", text)))
    kept: set[re.Match[str]] = set()
    while found := [one for one in definitions if one not in kept and (one[1] or one[2]) in needed]:
        kept.update(found)
        needed.update(*(_WORD.findall(one[0]) for one in found))
    for one in reversed(definitions):
        if one not in kept:
            text = text[: one.start()] + text[one.end() :]
    return text


#: Keys that a script is run on by one round trip, none of which takes the server more than some 50 µs.
_EACH_AT_ONCE = 50

#: A script's name, and its arguments.
Call: TypeAlias = Sequence[bytes | str | int | float]


class Scripts:
    """Runs the scripts on one connection."""

    def __init__(
        self,
        connection: RedisConnection,
        *,
        events_max: int,
        events_age: timedelta,
        quotas: Quotas = DEFAULT_QUOTAS,
        clock: str = "",
    ) -> None:
        """`clock`: the key that says how far a clock that is moved by hand is ahead; "": the clock is Redis' own."""
        self._connection = connection
        self._constants: dict[str, int | str] = {
            "MANUAL": int(bool(clock)),
            "CLOCK": clock,
            "EVENTS_MAX": events_max,
            "EVENTS_AGE_MS": int(events_age.total_seconds() * 1000),
            "JOBS_PER_QUEUE": quotas.jobs or 0,
            "JOBS_IN_QUEUES": ",".join(f"{name}={most}" for name, most in quotas.own),
            "MAX_CRASHES": limits.MAX_CRASHES,
            "MAX_LEASES_LOST": limits.MAX_LEASES_LOST,
            "JOB_SPEC_BYTES": limits.JOB_SPEC_BYTES,
            "TYPES_PER_QUEUE": limits.TYPES_PER_QUEUE,
            "CANCEL_GRACE_MS": limits.DEFAULT_GRACE // timedelta(milliseconds=1),
            "PENDING_MS": PENDING // timedelta(milliseconds=1),
            "SEALED_KIND": sealed.KIND,
            "SEALED_MORE": sealed.ADDED_BYTES,
            "LOG_LINES": limits.LOG_LINES,
            "LOG_BYTES": limits.LOG_BYTES,
            "LOG_HEAD_LINES": limits.LOG_HEAD_LINES,
            "LOG_HEAD_BYTES": limits.LOG_HEAD_BYTES,
            "EXPLAINED_IDS": limits.EXPLAINED_IDS,
        }
        self._sent: dict[str, tuple[str, str]] = {}  # by name: the text and Redis' name of it

    async def run(self, name: str, key: str, *arguments: bytes | str | int | float) -> Any:
        """Run a script on one key and what hangs under it; its answer as Redis gave it.

        A script that the server does not know (it restarted, or is new in a cluster) did not run: it is sent whole.
        """
        read_only = name in READ_ONLY
        text, sha1 = self._sent.get(name) or self._prepare(name)
        try:
            return await self._connection.execute("EVALSHA", sha1, 1, key, *arguments, read_only=read_only)
        except NoScriptError:
            return await self._connection.execute("EVAL", text, 1, key, *arguments, read_only=read_only)

    async def run_both(self, key: str, one: Call, other: Call) -> tuple[Any, Any]:
        """Run two scripts on one key, one after the other, in one round trip; not in a cluster. An error of redis-py
        stands in the place of an answer. Raises what `run` does where nothing was answered."""

        async def ask() -> list[Any]:
            pipe = self._connection.client.pipeline(transaction=False)
            for name, *arguments in (one, other):
                pipe.execute_command("EVALSHA", self.sha1(str(name)), 1, key, *arguments)
            answers: list[Any] = await pipe.execute(raise_on_error=False)
            return answers

        first, second = await self._connection.run(ask, key=key)
        return first, second

    async def run_each(self, name: str, keys: Iterable[str]) -> list[Any]:
        """Run a script that only reads on each of these keys, in few round trips; the answers in their order."""
        left, answers = list(keys), list[Any]()
        for start in range(0, len(left), _EACH_AT_ONCE):
            answers += await self._run_part(name, left[start : start + _EACH_AT_ONCE])
        return answers

    async def _run_part(self, name: str, keys: Sequence[str]) -> list[Any]:
        if self._connection.cluster:  # their queues stand on several servers
            return await asyncio.gather(*(self.run(name, key) for key in keys))

        async def ask() -> list[Any]:
            pipe = self._connection.client.pipeline(transaction=False)
            for key in keys:
                pipe.execute_command("EVALSHA", self.sha1(name), 1, key)
            answers: list[Any] = await pipe.execute(raise_on_error=False)
            return answers

        found = []
        for key, answer in zip(keys, await self._connection.run(ask, read_only=True), strict=True):
            if isinstance(answer, NoScriptError):
                answer = await self.run(name, key)
            elif isinstance(answer, Exception):
                with self._connection.translated(read_only=True):
                    raise answer
            found.append(answer)
        return found

    def sha1(self, name: str) -> str:
        """The name Redis gives a script."""
        return (self._sent.get(name) or self._prepare(name))[1]

    def _prepare(self, name: str) -> tuple[str, str]:
        text = source(name, self._constants)
        # The name Redis gives a script, not a safeguard.
        sha1 = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
        sent = self._sent[name] = text, sha1
        return sent
