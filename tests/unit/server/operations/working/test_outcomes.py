"""Outcomes that come together are recorded together, and one that cannot be harms no other."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from contract.builders import MINUTE, a_draft, added
from support.spied_store import SpiedStore
from tocsin_server.domain.errors import Internal, TocsinError
from tocsin_server.domain.job import JobError
from tocsin_server.domain.job_errors import EndedOtherwise
from tocsin_server.domain.lease import Ending, Finished, Lease
from tocsin_server.domain.states import State
from tocsin_server.operations.finishing import EndedAttempt, Finishing
from tocsin_server.operations.working.outcomes import Outcomes


async def leased(spied: SpiedStore, count: int) -> list[Lease]:
    await added(spied.as_store, *(a_draft(queue="q", type="t") for _ in range(count)))
    claim = await spied.as_store.claim("q", {"t": count}, count, lease=MINUTE, request=b"request!")
    return [one.lease for one in claim.claimed]


class Choosy(Finishing):
    """Cannot take one of them."""

    def __init__(self, spied: SpiedStore, refused: Lease) -> None:
        super().__init__(spied.as_store)
        self._refused = refused

    async def report(self, ended: Sequence[EndedAttempt]) -> list[Finished | TocsinError]:
        if any(one.lease == self._refused for one in ended):
            raise ValueError("planted")
        return await super().report(ended)


async def test_one_that_cannot_be_recorded_harms_no_other(spied: SpiedStore) -> None:
    leases = await leased(spied, 3)
    outcomes = Outcomes(Choosy(spied, leases[1]))
    answers = await outcomes.report([EndedAttempt(lease, Ending.COMPLETED) for lease in leases])
    assert [type(answer) for answer in answers] == [Finished, Internal, Finished]
    await outcomes.close()


async def test_batches_that_wait_for_a_call_go_together(spied: SpiedStore) -> None:
    leases = await leased(spied, 12)
    outcomes = Outcomes(Finishing(spied.as_store))
    gate = spied.gates["finish"] = asyncio.Event()
    ended = [EndedAttempt(lease, Ending.COMPLETED) for lease in leases]
    calls = [asyncio.ensure_future(outcomes.report(ended[at : at + 3])) for at in range(0, 12, 3)]
    await spied.until_asked("finish", 1)
    gate.set()
    answers = [answer for call in calls for answer in await call]
    assert answers == [Finished(State.COMPLETED, repeated=False)] * 12
    assert spied.calls["finish"] <= 2
    await outcomes.close()


async def test_another_end_of_an_ended_attempt_is_refused(spied: SpiedStore) -> None:
    [done, failed] = await leased(spied, 2)
    outcomes = Outcomes(Finishing(spied.as_store))
    error = JobError("Planted", "planted")
    await outcomes.report([EndedAttempt(done, Ending.COMPLETED), EndedAttempt(failed, Ending.FAILED, error=error)])
    again = [EndedAttempt(done, Ending.FAILED, error=error), EndedAttempt(failed, Ending.RELEASED)]
    assert [type(answer) for answer in await outcomes.report(again)] == [EndedOtherwise, EndedOtherwise]
    same = [EndedAttempt(done, Ending.COMPLETED), EndedAttempt(failed, Ending.FAILED, error=error)]
    assert [answer for answer in await outcomes.report(same) if isinstance(answer, TocsinError)] == []
    await outcomes.close()
