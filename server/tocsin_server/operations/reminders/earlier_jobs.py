"""Jobs of earlier revisions: cancelled where they wait, waited for where they send."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence

from tocsin_server.domain import limits
from tocsin_server.domain.commands import CancelJob
from tocsin_server.domain.errors import TocsinError
from tocsin_server.domain.job import View
from tocsin_server.domain.job_errors import JobNotFound, WrongState
from tocsin_server.domain.reminders import Earlier, Standing, sends
from tocsin_server.domain.states import ENDED
from tocsin_server.store.interface import JobStore
from tocsin_server.telemetry import job_log

#: Seconds between two looks at a job that sends: most mails are handed over within some milliseconds.
_FIRST_PAUSE, _GROWTH, _LONGEST_PAUSE = 0.002, 1.5, 0.25


class EarlierJobs:
    """Brings what was made for an earlier revision to its end."""

    def __init__(self, store: JobStore) -> None:
        self._store = store

    async def standing(self, queue: str, job_ids: Iterable[str]) -> Standing:
        """The jobs that stand, by id."""
        asked = list(dict.fromkeys(job_ids))
        found = await self._store.get(queue, asked, View.BASIC) if asked else []
        return {job_id: job for job_id, job in zip(asked, found, strict=True) if job is not None}

    async def cancel(self, queue: str, job_ids: Sequence[str], reason: str) -> None:
        """Cancel those that have not ended; those that are gone or have ended are passed over."""
        wishes = [CancelJob(job_id, reason, "", limits.DEFAULT_GRACE) for job_id in job_ids]
        answers = await self._store.cancel(queue, wishes) if wishes else []
        job_log.cancel_asked(answers)
        for answer in answers:
            if isinstance(answer, TocsinError) and not isinstance(answer, (JobNotFound, WrongState)):
                raise answer

    async def cancel_idle(self, queue: str, earlier: Sequence[Earlier], jobs: Standing, reason: str) -> None:
        """Cancel all but those that send: a mail half handed over helps nobody.

        `jobs` is what stood before the revision was written that made them earlier ones. So none of those which are
        cancelled here sends, nor begins to.
        """
        idle = [one.job_id for one in earlier if not sends(jobs.get(one.job_id), one.attempt)]
        await self.cancel(queue, idle, reason)

    async def sent(self, queue: str, begun: Sequence[Earlier]) -> list[str]:
        """Return once none of these attempts sends any more; the jobs of those that failed and will be tried again.

        It takes as long as the attempts do, or until the leases of those run out whose server has died.
        """
        left, pause = [one for one in begun if one.attempt], _FIRST_PAUSE
        again: list[str] = []
        while left:
            jobs = await self.standing(queue, (one.job_id for one in left))
            ended = [one for one in left if not sends(jobs.get(one.job_id), one.attempt)]
            again += [one.job_id for one in ended if (job := jobs.get(one.job_id)) and job.state not in ENDED]
            left = [one for one in left if one not in ended]
            if left:
                await asyncio.sleep(pause)
                pause = min(pause * _GROWTH, _LONGEST_PAUSE)
        return again

    async def ended(self, queue: str, earlier: Sequence[Earlier], reason: str) -> None:
        """As `sent`; and what then would be tried again is cancelled."""
        await self.cancel(queue, await self.sent(queue, earlier), reason)
