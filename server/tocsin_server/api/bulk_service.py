"""BulkService: read the request; count, or begin an action and follow it; answer."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing

from tocsin.v1 import bulk_service_pb2 as pb

from tocsin_server.api import bulk_tokens
from tocsin_server.api.answers import bulk_actions as answers
from tocsin_server.api.interceptors.call import Call
from tocsin_server.api.requests import bulk_actions as requests
from tocsin_server.operations.bulk_actions.changes import moment_of
from tocsin_server.operations.bulk_actions.following import BulkActions
from tocsin_server.operations.bulk_actions.preview import preview
from tocsin_server.store.interface import JobStore


class BulkService:
    """Acts on all jobs of a queue that match, and says before on which it would."""

    def __init__(self, store: JobStore, actions: BulkActions) -> None:
        self._store = store
        self._actions = actions

    async def BulkAct(self, request: pb.BulkActRequest, call: Call) -> AsyncIterator[pb.BulkActResponse]:
        wish, order = requests.bulk_act(request, call.caller)
        if request.dry_run:
            await self._actions.check_target(order)
            async with aclosing(preview(self._store, order.queue, order.filter)) as found_so_far:
                async for found in found_so_far:
                    if found.moment is None:
                        yield answers.counting(found)
                    else:
                        yield answers.counted(found, bulk_tokens.bulk_token(wish, found.moment))
            return
        moment = order.moment or await moment_of(self._store, order.queue)
        payload = requests.payload_of_action(wish, order, moment)
        job_id = bulk_tokens.action_id(request.token) if request.token else None
        job_id = await self._actions.begin(order, payload, job_id)
        async with aclosing(self._actions.follow(job_id)) as steps:
            async for step in steps:
                yield answers.acting(step)
