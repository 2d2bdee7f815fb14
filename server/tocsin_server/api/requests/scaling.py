"""What a ScaledObject's metadata asks for."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping

from tocsin.v1 import externalscaler_pb2 as pb

from tocsin_server.api.requests.violations import Violations
from tocsin_server.domain import limits
from tocsin_server.domain.record import record
from tocsin_server.domain.states import State
from tocsin_server.operations.working.scaling import Demand

#: The one metric that is told; KEDA puts a prefix of its own before it.
METRIC = "tocsin-jobs"

_QUEUES, _TYPES, _STATES, _PER_WORKER, _IDLE = KEYS = (
    "queues",
    "types",
    "states",
    "jobsPerWorker",
    "activationJobs",
)

#: As many as a worker runs at once as it comes.
_JOBS_PER_WORKER = 20.0

#: So alike to one of ours a key must be to be taken for a slip: KEDA hands on keys of its own, and others may come.
_ALIKE = 0.75


@record
class ScaledObject:
    """Who is counted, and how many of them are for one worker."""

    demand: Demand
    per_worker: float


def scaled_object(ref: pb.ScaledObjectRef) -> ScaledObject:
    """InvalidFields, which names the key of the metadata."""
    return _wish(ref.scalerMetadata, "scalerMetadata")


def get_metrics(request: pb.GetMetricsRequest) -> ScaledObject:
    """The same, of a request for the metric's value."""
    if request.metricName and request.metricName != METRIC:
        wrong = Violations()
        wrong.add("metricName", f'is "{METRIC}", as GetMetricSpec tells')
        wrong.done()
    return _wish(request.scaledObjectRef.scalerMetadata, "scaledObjectRef.scalerMetadata")


def _wish(metadata: Mapping[str, str], path: str) -> ScaledObject:
    wrong = Violations()
    for key in metadata:
        if key not in KEYS and (meant := difflib.get_close_matches(key, KEYS, 1, _ALIKE)):
            wrong.add(f"{path}.{key}", f"is no key; {meant[0]} is one")
    queues = _names(wrong, metadata, path, _QUEUES, limits.SCALED_QUEUES) or [limits.DEFAULT_QUEUE]
    types = _names(wrong, metadata, path, _TYPES, limits.FILTER_TYPES)
    states = _parts(metadata, _STATES) or [State.WAITING.name, State.ACTIVE.name]
    for state in states:
        if state not in State.__members__:
            wrong.add(f"{path}.{_STATES}", f"names {state[:40]!r}; there are {', '.join(State.__members__)}")
    per_worker = _number(wrong, metadata, path, _PER_WORKER, _JOBS_PER_WORKER)
    if per_worker == 0:
        wrong.add(f"{path}.{_PER_WORKER}", "is above 0")
    idle = _number(wrong, metadata, path, _IDLE, 0.0)
    wrong.done()
    demand = Demand(tuple(dict.fromkeys(queues)), frozenset(types), frozenset(State[name] for name in states), idle)
    return ScaledObject(demand, per_worker)


def _parts(metadata: Mapping[str, str], key: str) -> list[str]:
    return [part.strip() for part in metadata.get(key, "").split(",") if part.strip()]


def _names(wrong: Violations, metadata: Mapping[str, str], path: str, key: str, most: int) -> list[str]:
    names = _parts(metadata, key)
    if len(names) > most:
        wrong.add(f"{path}.{key}", f"has {len(names):,} names, at most {most} are allowed")
        return []
    for name in names:
        wrong.name(f"{path}.{key}", name)
    return names


def _number(wrong: Violations, metadata: Mapping[str, str], path: str, key: str, default: float) -> float:
    text = metadata.get(key, "").strip()
    if not text:
        return default
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 <= number < math.inf:
        wrong.add(f"{path}.{key}", "is a number, 0 or above, such as 20 or 2.5")
        return default
    return number
