"""The Lua scripts, run by hash. What they are sent as is made in script_text.py."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any, TypeAlias

from redis.exceptions import NoScriptError, ResponseError

from tocsin_server.domain import limits, sealed
from tocsin_server.domain.quotas import DEFAULT_QUOTAS, Quotas
from tocsin_server.store.calendar_store import PENDING
from tocsin_server.store.redis.connection.connection import RedisConnection
from tocsin_server.store.redis.script_text import SHORTENED, WHOLE_IS_NEEDED, source

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
        "parents",
        "ping",
        "read_shared",
        "schedules",
        "workers",
    }
)

#: Keys that a script is run on by one round trip, none of which takes the server more than some 50 µs.
_EACH_AT_ONCE = 50

#: A script's name, and its arguments.
Call: TypeAlias = Sequence[bytes | str | int | float]


_SHORT = " short"
_MOST_KNOWN = 10_000  # keys that are remembered
_UNIQUE, _OWN_ID, _CONDITIONS = 4, 4, 64  # lua/lib/drafts.lua, lua/lib/job.lua


def _no_standing_job(arguments: Sequence[Any]) -> bool:
    """Jobs that nothing stands for: so what is there already is not met, after part of the call is written."""
    return all(
        (head[0] == _UNIQUE or not head[8] & _OWN_ID) and not head[8] & _CONDITIONS
        for head in filter(None, arguments[2::2])  # of most jobs none: that of the one before
    )


#: Whether a short script will do, by what it is called with. What it may write before it can know is not for it.
_WILL_DO: Mapping[str, Callable[[Sequence[Any]], bool]] = {
    "add": _no_standing_job,
    "claim": lambda arguments: not int(arguments[3]),  # one that is asked again
    "extend": lambda arguments: not any(arguments[3::3]),  # lines of log are written at once
    "finish": lambda arguments: b" " not in b"".join(arguments[3::4]),  # that pauses a limit
}


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
            "ASK_PARENTS_MS": limits.ASK_PARENTS // timedelta(milliseconds=1),
            "ASK_AGAIN_MS": limits.ASK_AGAIN // timedelta(milliseconds=1),
            "ERRAND_MS": limits.RETELL // timedelta(milliseconds=1),
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
        self._whole: set[str] = set()  # keys for which short scripts were too short

    async def run(self, name: str, key: str, *arguments: bytes | str | int | float) -> Any:
        """Run a script on one key and what hangs under it; its answer as Redis gave it.

        A script that the server does not know (it restarted, or is new in a cluster) did not run: it is sent as text.
        """
        if (short := self._shorter(name, key, arguments)) != name:
            try:
                return await self._send(short, key, arguments)
            except ResponseError as error:
                if not self.did_not_run(error, key):
                    raise
        return await self._send(name, key, arguments)

    def did_not_run(self, answer: object, key: str) -> bool:
        """Whether an answer says that the server does not know the script; or that a short one met what it does not
        know, and did nothing: from now on this key has whole ones."""
        if isinstance(answer, NoScriptError):
            return True
        if not isinstance(answer, ResponseError) or WHOLE_IS_NEEDED not in str(answer):
            return False
        if len(self._whole) >= _MOST_KNOWN:
            self._whole.clear()
        self._whole.add(key)
        return True

    def _shorter(self, name: str, key: str, arguments: Sequence[bytes | str | int | float]) -> str:
        """The name of the short script where that will do, as far as is known."""
        if name not in SHORTENED or key in self._whole or not _WILL_DO[name](arguments):
            return name
        return f"{name}{_SHORT}"

    async def _send(self, name: str, key: str, arguments: Sequence[bytes | str | int | float]) -> Any:
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
                chosen = self._shorter(str(name), key, arguments)
                pipe.execute_command("EVALSHA", self.sha1(chosen), 1, key, *arguments)
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
        text = source(name.removesuffix(_SHORT), self._constants, short=name.endswith(_SHORT))
        # The name Redis gives a script, not a safeguard.
        sha1 = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
        sent = self._sent[name] = text, sha1
        return sent
