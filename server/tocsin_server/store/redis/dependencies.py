"""DependencyStore over Redis or Valkey. How it is kept stands in lua/lib/following.lua."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from tocsin_server.domain.dependencies import EndedParent, EndWatch, Errands, ParentEnd, ParentJob, Settlement
from tocsin_server.domain.states import State
from tocsin_server.store.condition_records import ref_bytes
from tocsin_server.store.dependency_store import DependencyStore
from tocsin_server.store.redis import replies
from tocsin_server.store.redis.arguments import Arguments
from tocsin_server.store.redis.parent_records import parents_bytes, parents_of
from tocsin_server.store.redis.records import six_bytes


class RedisDependencies(DependencyStore):
    """`run` runs a script on a queue, `run_all` over any number of items (RedisStore)."""

    def __init__(self, run: Callable[..., Awaitable[Any]], run_all: Callable[..., Awaitable[list[Any]]]) -> None:
        self._run = run
        self._run_all = run_all

    async def parents(self, queue: str, job_ids: Sequence[str]) -> list[tuple[ParentJob, ...]]:
        found = await self._run_all("parents", queue, [(one.encode(),) for one in job_ids])
        return [parents_of(pairs) for pairs in found]

    async def watch(self, queue: str, watches: Sequence[EndWatch]) -> list[ParentJob]:
        arguments: list[Arguments] = [
            (
                one.job_id.encode(),
                six_bytes(one.arrival),
                ref_bytes(one.child.queue, one.child.job_id),
                b"1" if one.of_end else b"0",
            )
            for one in watches
        ]
        answers = await self._run_all("watch", queue, arguments)
        return [
            ParentJob(queue, one.job_id, arrival or one.arrival, ParentEnd(how))
            for one, (how, arrival) in zip(watches, answers, strict=True)
        ]

    async def settle(self, queue: str, settlements: Sequence[Settlement]) -> list[State | None]:
        arguments: list[Arguments] = [
            (one.job_id.encode(), b"1" if one.asked_all else b"0", parents_bytes(one.parents)) for one in settlements
        ]
        answers = await self._run_all("settle", queue, arguments)
        return [State(state) if state else None for state in answers]

    async def errands(self, queue: str, limit: int = 100) -> Errands:
        return replies.errands(queue, await self._run("errands", queue, limit))

    async def told(self, queue: str, tellings: Sequence[EndedParent]) -> bool:
        flat: list[bytes] = []
        for one in tellings:
            references = [ref_bytes(child.queue, child.job_id) for child in one.children]
            flat += (one.token, b"".join(len(ref).to_bytes(2, "big") + ref for ref in references))
        return bool(await self._run("told", queue, *flat)) if flat else False
