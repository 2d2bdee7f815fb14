"""KEDA's ExternalScaler: read the metadata, call, answer."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from contextlib import aclosing

from tocsin.v1 import externalscaler_pb2 as pb

from tocsin_server.api.interceptors.call import Call
from tocsin_server.api.permissions import check_queues
from tocsin_server.api.requests import scaling as requests
from tocsin_server.operations.working.scaling import Scaling


class ScalerService:
    """Tells KEDA how many jobs want workers."""

    def __init__(self, scaling: Scaling) -> None:
        self._scaling = scaling

    async def IsActive(self, request: pb.ScaledObjectRef, call: Call) -> pb.IsActiveResponse:
        demand = _allowed(call, requests.scaled_object(request)).demand
        return pb.IsActiveResponse(result=await self._scaling.wanted(demand))

    async def StreamIsActive(self, request: pb.ScaledObjectRef, call: Call) -> AsyncIterator[pb.IsActiveResponse]:
        demand = _allowed(call, requests.scaled_object(request)).demand
        async with aclosing(self._scaling.watch(demand)) as changes:
            async for wanted in changes:
                yield pb.IsActiveResponse(result=wanted)

    async def GetMetricSpec(self, request: pb.ScaledObjectRef, call: Call) -> pb.GetMetricSpecResponse:
        target = _allowed(call, requests.scaled_object(request)).per_worker
        # Whole numbers are for older KEDAs, which know no other; half a job a worker would be none.
        spec = pb.MetricSpec(metricName=requests.METRIC, targetSize=math.ceil(target), targetSizeFloat=target)
        return pb.GetMetricSpecResponse(metricSpecs=[spec])

    async def GetMetrics(self, request: pb.GetMetricsRequest, call: Call) -> pb.GetMetricsResponse:
        jobs = await self._scaling.jobs(_allowed(call, requests.get_metrics(request)).demand)
        value = pb.MetricValue(metricName=requests.METRIC, metricValue=jobs, metricValueFloat=jobs)
        return pb.GetMetricsResponse(metricValues=[value])


def _allowed(call: Call, wish: requests.ScaledObject) -> requests.ScaledObject:
    """NotAllowed: the queues stand in a map, where what looks at fields does not find them."""
    check_queues(call.principal, wish.demand.queues)
    return wish
