"""Outcomes of attempts that ran elsewhere: recorded once, those that come at the same time together."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import timedelta
from itertools import chain

import structlog

from tocsin_server.domain.errors import Internal, TocsinError
from tocsin_server.domain.lease import Finished
from tocsin_server.operations.finishing import EndedAttempt, Finishing
from tocsin_server.operations.gathering import Gathering
from tocsin_server.store.batching import by_queue

_log: structlog.typing.FilteringBoundLogger = structlog.get_logger()

_Reported = list[Finished | TocsinError]


class Outcomes:
    """Records outcomes, a store call a queue at a time. Lone ones are gathered (gathering.py), and several have company
    enough: they wait only while such a call is under way. A store call is not cancelled with its callers."""

    def __init__(self, finishing: Finishing, *, linger: timedelta = timedelta(milliseconds=3)) -> None:
        self._finishing = finishing
        self._lone = Gathering[Sequence[EndedAttempt], _Reported](self._record, linger)
        self._several = Gathering[Sequence[EndedAttempt], _Reported](self._record, timedelta(0))

    async def report(self, ended: Sequence[EndedAttempt]) -> list[Finished | TocsinError]:
        """What became of each, in order. As Finishing.report; raises only where all of it failed."""
        gathering = self._lone if len(ended) == 1 else self._several
        return await by_queue(ended, lambda one: one.lease.queue, gathering.send)

    async def close(self) -> None:
        """Wait until all store calls have ended."""
        await self._lone.close()
        await self._several.close()

    async def _record(self, _queue: str, batches: Sequence[Sequence[EndedAttempt]]) -> Sequence[_Reported]:
        ended = batches[0] if len(batches) == 1 else list(chain.from_iterable(batches))
        try:
            answers = iter(await self._finishing.report(ended))
        except TocsinError:
            raise
        except Exception:
            # One that the store cannot take must not keep its neighbours from being recorded.
            answers = iter([await self._alone(one) for one in ended])
        return [[next(answers) for _ in batch] for batch in batches]

    async def _alone(self, ended: EndedAttempt) -> Finished | TocsinError:
        try:
            [answer] = await self._finishing.report([ended])
        except TocsinError as error:
            return error
        except Exception as error:
            fault, lease = Internal(uuid.uuid4().hex), ended.lease
            _log.error(
                "outcome_refused", error_id=fault.error_id, queue=lease.queue, job_id=lease.job_id, exc_info=error
            )
            return fault
        return answer
