"""Calls by which jobs run: leased, gone on with, ended, taken back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta

from tocsin_server.domain.errors import TocsinError
from tocsin_server.domain.job import JobError
from tocsin_server.domain.lease import AttemptOutcome, Claimed, Ending, Extended, Extension, Lease, LimitPause

from contract.builders import MINUTE, a_request
from contract.model.calls import Add, Both, Call
from contract.model.jobs import ACTIVE
from contract.model.limits import Began
from contract.model.whole import near, same

ERRORS = {"FAILED": JobError("ValueError", "no", "line 1"), "CRASHED": JobError("CHILD_DIED", "exit status 9")}


@dataclass(frozen=True, repr=False)
class Claim(Call):
    """JobStore.claim, again and again until it brings no more."""

    types: Mapping[str, int] = field(default_factory=lambda: {"t": 9, "u": 9})
    most: int = 9
    lease: int = 11
    again: bool = False  # as if the answer of the last one had been lost

    def __repr__(self) -> str:
        words = [f"{dict(self.types)!r}", f"{self.most}", f"{self.lease}"]
        return f"Claim({', '.join(words + ['again=True'] * self.again)})"

    async def on(self, both: Both) -> None:
        if self.again and both.last_claim is not None:
            request, since = both.last_claim
            claim = await both.store.claim(
                both.queue, self.types, self.most, lease=self.lease * MINUTE, request=request, repeated=True
            )
            had = [number for number in range(since, len(both.leases)) if self._stands(both, number)]
            if had:
                said = sorted(both.name_of(one.job.job_id) for one in claim.claimed)
                same("a repeated claim", said, sorted(both.name_of(both.leases[number].job.job_id) for number in had))
                return
            await claim_on(both, self, list(claim.claimed), more=claim.more)
            return
        await claim_on(both, self, [], more=True)

    def _stands(self, both: Both, number: int) -> bool:
        job = both.model.jobs.get(both.name_of(both.leases[number].job.job_id))
        return job is not None and job.state is ACTIVE and job.lease == number


async def claim_on(both: Both, asked: Claim, found: list[Claimed], *, more: bool) -> None:
    """Claim what is left of what was asked for; all that was brought must be what may begin."""
    left = dict(asked.types)
    for one in found:
        left[one.job.spec.type] -= 1
    while more and len(found) < asked.most:
        request = a_request()
        both.last_claim = request, len(both.leases) + len(found)
        claim = await both.store.claim(
            both.queue, left, asked.most - len(found), lease=asked.lease * MINUTE, request=request
        )
        found += claim.claimed
        for one in claim.claimed:
            left[one.job.spec.type] -= 1
        more = claim.more
    began = []
    for one in found:
        assert one.job.start_time is not None
        began.append(Began(both.name_of(one.job.job_id), both.number_of(one), one.job.start_time))
    both.model.claim(asked.types, asked.most, began, asked.lease * MINUTE)
    for one in found:
        same("the attempt", one.lease.attempt, both.model.jobs[both.name_of(one.job.job_id)].attempt)


class AddAndClaim(Add):
    """JobStore.add_and_claim, and claims as by Claim."""

    async def on(self, both: Both) -> None:
        drafts, asked, request = self.drafts(both), Claim(), a_request()
        both.last_claim = request, len(both.leases)
        answers, claim = await both.store.add_and_claim(
            drafts, asked.types, asked.most, lease=asked.lease * MINUTE, request=request
        )
        self.told(both, drafts, answers)
        both.answers.clear()
        both.model.settle()
        assert not isinstance(claim, TocsinError), claim
        await claim_on(both, asked, list(claim.claimed), more=claim.more)


@dataclass(frozen=True, repr=False)
class Finish(Call):
    """JobStore.finish, of a job's last lease or of one before."""

    name: str
    how: str = "COMPLETED"
    retry: int | None = None
    back: int = 0
    pause: str = ""  # a limit

    async def on(self, both: Both) -> None:
        lease, number = both.lease_of(self.name, self.back)
        retry = None if self.retry is None else self.retry * MINUTE
        outcome = _outcome(lease, self.how, retry)
        if self.pause:
            outcome = replace(outcome, pause=LimitPause(self.pause, 47 * MINUTE))
        [answer] = await both.store.finish([outcome])
        expected = both.model.finish(self.name, number, self.how, retry)
        recorded = expected != "LeaseLost" and not expected.startswith("repeated")
        if self.pause and recorded:
            both.model.halt(self.name, self.pause, 47 * MINUTE)
        if isinstance(answer, TocsinError):
            same("finish", type(answer).__name__, expected)
        else:
            same("finish", "repeated " * answer.repeated + answer.state.name, expected)


def _outcome(lease: Lease, how: str, retry: timedelta | None) -> AttemptOutcome:
    result = b"done" if how == "COMPLETED" else None
    return AttemptOutcome(lease, Ending[how], result, ERRORS.get(how), retry if how == "FAILED" else None)


@dataclass(frozen=True, repr=False)
class Extend(Call):
    """JobStore.extend."""

    name: str
    lease: int = 11
    progress: float | None = None
    back: int = 0

    async def on(self, both: Both) -> None:
        lease, number = both.lease_of(self.name, self.back)
        progress = None if self.progress is None else (self.progress, "going")
        [answer] = await both.store.extend([Extension(lease, progress)], self.lease * MINUTE)
        expected = both.model.extend(self.name, number, self.lease * MINUTE, progress)
        if isinstance(answer, Extended):
            same("extend", f"Extended {answer.cancel_reason or ''}".strip(), expected)
            near("the lease's end", answer.lease_end, both.model.jobs[self.name].lease_end)
        else:
            same("extend", type(answer).__name__, expected)


@dataclass(frozen=True, repr=False)
class Reap(Call):
    """JobStore.reap."""

    async def on(self, both: Both) -> None:
        lost = {both.name_of(one.job_id): one.state.name for one in await both.store.reap(both.queue)}
        same("reap", lost, both.model.reap())
