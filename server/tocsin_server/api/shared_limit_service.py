"""SharedLimitService: read the request, call, answer."""

from __future__ import annotations

from tocsin.v1 import shared_limit_service_pb2 as pb

from tocsin_server.api.answers import shared_limits as answers
from tocsin_server.api.interceptors.call import Call
from tocsin_server.api.permissions import check_queues
from tocsin_server.api.requests import shared_limits as requests
from tocsin_server.domain.shared_limits import SharedLimitNotFound, SharedLimitState
from tocsin_server.operations.shared_limits import KeptSharedLimits
from tocsin_server.security.principals import Principal


class SharedLimitService:
    """Keeps limits that queues share. Who changes one must reach the queues of the one that stands, too; to who reaches
    none of its queues there is none."""

    def __init__(self, limits: KeptSharedLimits) -> None:
        self._limits = limits

    async def PutSharedLimit(self, request: pb.PutSharedLimitRequest, call: Call) -> pb.PutSharedLimitResponse:
        wanted = requests.put_shared_limit(request)
        check_queues(call.principal, await self._limits.queues(wanted.name))
        return pb.PutSharedLimitResponse(limit=answers.limit_message(await self._limits.put(wanted)))

    async def GetSharedLimit(self, request: pb.GetSharedLimitRequest, call: Call) -> pb.GetSharedLimitResponse:
        found = await self._limits.get(requests.named_shared_limit(request))
        if not _concerns(call.principal, found):
            raise SharedLimitNotFound(found.limit.name)
        return pb.GetSharedLimitResponse(status=answers.status_message(found))

    async def ListSharedLimits(self, request: pb.ListSharedLimitsRequest, call: Call) -> pb.ListSharedLimitsResponse:
        after, wanted = requests.list_shared_limits(request)
        found = await self._limits.all()
        return answers.listed([one for one in found if _concerns(call.principal, one)], after, wanted)

    async def DeleteSharedLimit(self, request: pb.DeleteSharedLimitRequest, call: Call) -> pb.DeleteSharedLimitResponse:
        name = requests.named_shared_limit(request)
        check_queues(call.principal, await self._limits.queues(name))
        await self._limits.delete(name)
        return pb.DeleteSharedLimitResponse()


def _concerns(principal: Principal | None, state: SharedLimitState) -> bool:
    return principal is None or any(principal.reaches(queue) for queue in state.limit.queues)
