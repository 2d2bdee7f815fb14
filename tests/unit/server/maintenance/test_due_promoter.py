"""What is due is WAITING, also where nobody claims."""

from __future__ import annotations

from contract.backdating import Backdate
from contract.builders import HOUR, a_draft, added, read
from support.spied_store import SpiedStore
from tocsin_server.domain.states import State
from tocsin_server.maintenance.due_promoter import DuePromoter
from tocsin_server.operations.store_clock import StoreClock


async def test_due_jobs_become_waiting_though_nobody_claims(spied: SpiedStore, backdate: Backdate) -> None:
    store = spied.as_store
    jobs = await added(store, *(a_draft(when=HOUR) for _ in range(250)))
    later = await added(store, a_draft(when=HOUR))
    for job in jobs:
        backdate.due(job, by=2 * HOUR)
    promoter = DuePromoter(store, StoreClock())
    promoter.hear(await store.ticks(["q"]))
    while await promoter.step():
        pass
    assert {(await read(store, job)).state for job in jobs} == {State.WAITING}
    assert (await read(store, later[0])).state is State.SCHEDULED


async def test_queues_with_nothing_due_cost_no_call(spied: SpiedStore) -> None:
    store = spied.as_store
    await added(store, a_draft(when=HOUR))
    promoter = DuePromoter(store, StoreClock())
    promoter.hear(await store.ticks(["q"]))
    assert await promoter.step() is False
    assert spied.calls["promote"] == 0
