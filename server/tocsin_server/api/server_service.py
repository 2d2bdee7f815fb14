"""ServerService: says what server this is."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from tocsin.v1 import server_service_pb2

from tocsin_server.api.call_limits import CallLimits
from tocsin_server.api.interceptors.call import Call
from tocsin_server.api.times import set_span, set_time
from tocsin_server.domain import limits
from tocsin_server.domain.quotas import DEFAULT_QUOTAS, Quotas
from tocsin_server.security.principals import Principal, Scope
from tocsin_server.store.interface import JobStore

_CALLS = CallLimits()


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """What a server knows of itself from its start on."""

    version: str
    server: str  # its name, unique per start
    start_time: datetime  # by its own clock
    handled_types: tuple[str, ...]  # empty: it runs no jobs
    lease: timedelta  # how long an attempt may stay unheard of
    events_per_queue: int  # kept for watchers
    quotas: Quotas = DEFAULT_QUOTAS
    unfit_for_production: tuple[str, ...] = ()
    calls: CallLimits = _CALLS


class ServerService:
    """Version, store, durability and limits."""

    def __init__(self, store: JobStore, facts: ServerFacts) -> None:
        self._store = store
        self._facts = facts

    async def GetServerInfo(
        self, request: server_service_pb2.GetServerInfoRequest, call: Call
    ) -> server_service_pb2.GetServerInfoResponse:
        store, facts = await self._store.info(), self._facts
        response = server_service_pb2.GetServerInfoResponse(
            version=facts.version,
            provider=store.provider,
            store_version=store.version,
            store_embedded=store.embedded,
            durability=server_service_pb2.GetServerInfoResponse.Durability.ValueType(store.durability),
            handled_types=facts.handled_types,
            server=facts.server,
            unfit_for_production=facts.unfit_for_production,
        )
        set_time(response.start_time, facts.start_time)
        _fill_caller(response.caller, call.principal)
        _fill_limits(response.limits, facts)
        return response


def _fill_caller(target: server_service_pb2.GetServerInfoResponse.Caller, principal: Principal | None) -> None:
    if principal is None:
        target.scopes.extend(Scope)
        target.all_queues = True
        return
    target.name = principal.name
    target.scopes.extend(sorted(principal.scopes))
    target.all_queues = principal.queues is None
    target.queues.extend(principal.queues or ())


def _fill_limits(target: server_service_pb2.Limits, facts: ServerFacts) -> None:
    target.job_spec_bytes = limits.JOB_SPEC_BYTES
    target.request_bytes = limits.REQUEST_BYTES
    target.response_bytes = limits.RESPONSE_BYTES
    target.result_bytes = limits.RESULT_BYTES
    target.progress_message_bytes = limits.PROGRESS_MESSAGE_BYTES
    target.error_message_bytes = limits.ERROR_MESSAGE_BYTES
    target.error_trace_bytes = limits.ERROR_TRACE_BYTES
    target.batch_items = limits.BATCH_ITEMS
    target.page_size = limits.PAGE_SIZE
    target.skip = limits.SKIP
    target.name_characters = limits.NAME_CHARACTERS
    target.job_id_characters = limits.JOB_ID_CHARACTERS
    target.job_id_bytes = limits.JOB_ID_BYTES
    target.tags = limits.TAGS
    target.tag_key_characters = limits.TAG_KEY_CHARACTERS
    target.tag_value_bytes = limits.TAG_VALUE_BYTES
    target.types_per_queue = limits.TYPES_PER_QUEUE
    target.max_crashes = limits.MAX_CRASHES
    set_span(target.delay, limits.MAX_DELAY)
    set_span(target.lease, facts.lease)
    target.events_per_queue = facts.events_per_queue
    target.max_attempts = limits.MAX_ATTEMPTS
    set_span(target.timeout, limits.MAX_TIMEOUT)
    set_span(target.retention, limits.MAX_RETENTION)
    set_span(target.grace, limits.MAX_GRACE)
    target.reason_bytes = limits.REASON_BYTES
    target.limit_key_bytes, target.weight = limits.LIMIT_KEY_BYTES, limits.MAX_WEIGHT
    target.limits_per_queue, target.max_active = limits.LIMITS_PER_QUEUE, limits.MAX_ACTIVE
    target.rate_jobs = limits.RATE_JOBS
    set_span(target.rate_span, limits.MAX_RATE_SPAN)
    target.filter_types = limits.FILTER_TYPES
    target.filter_states = limits.FILTER_STATES
    target.import_records = limits.IMPORT_RECORDS
    target.queues = facts.quotas.queues
    target.jobs_per_queue = facts.quotas.jobs or 0
    target.payload_bytes = facts.quotas.payload_bytes or 0
    target.client_calls_per_second = facts.calls.per_second_per_client or 0
    target.client_burst = facts.calls.burst_per_client
    target.client_open_calls = facts.calls.calls_per_client or 0
    target.client_watches = facts.calls.watches_per_client
    target.client_workers = facts.calls.workers_per_client or 0
    target.client_transfers = facts.calls.transfers_per_client
    target.client_request_bytes = facts.calls.request_bytes_per_client or 0
