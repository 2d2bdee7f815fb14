"""JobStore.claim beside JobStore.cancel: what is leased is in somebody's hands."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

from tocsin_server.domain.job import View
from tocsin_server.domain.states import State
from tocsin_server.store.interface import JobStore

from contract.builders import MINUTE, a_draft, a_request, added, good, wish
from contract.providers import Provider


async def test_who_claims_is_given_every_lease_though_jobs_are_cancelled_just_then(provider: Provider) -> None:
    ids = [f"{n}" for n in range(60)]
    handed: list[str] = []

    async def claims(store: JobStore) -> None:
        left = True
        while left:
            claim = await store.claim("q", {"t": 9}, 9, lease=MINUTE, request=a_request())
            handed.extend(one.job.job_id for one in claim.claimed)
            left = bool(claim.claimed) or claim.more

    async def cancels(store: JobStore, mine: list[str]) -> None:
        for job_id in mine:
            [answer] = await store.cancel("q", [wish(job_id)])
            good(answer)

    async with AsyncExitStack() as stack:
        stores = [await stack.enter_async_context(provider.store()) for _ in range(3)]
        await added(stores[0], *(a_draft(job_id) for job_id in ids))
        await asyncio.gather(*map(claims, stores), cancels(stores[0], ids[::2]), cancels(stores[1], ids[::-1]))
        jobs = await stores[0].get("q", ids, View.BASIC)
    begun = sorted(job.job_id for job in jobs if job is not None and job.state is State.ACTIVE)
    assert sorted(handed) == begun
