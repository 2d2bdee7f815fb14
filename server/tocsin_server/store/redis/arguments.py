"""What scripts are given: the arguments of those that are not given a line an item."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import TypeAlias

from tocsin_server.domain.commands import Change, HoldJob, ReleaseJob, RetryJob, RunJob, UpdateJob
from tocsin_server.domain.lease import AttemptOutcome, Ending
from tocsin_server.domain.queues import QueueSettings
from tocsin_server.domain.times import time_to_ms, to_ms
from tocsin_server.store.batching import parts
from tocsin_server.store.limit_records import packed_limits
from tocsin_server.store.redis import records
from tocsin_server.store.redis.queue_records import settings_bytes

#: Of one item of a batch.
Arguments: TypeAlias = tuple[bytes, ...]

#: What one script call may carry, so that none holds Redis for long.
CALL_JOBS, _CALL_BYTES = 50, 1 << 20


_VERBS: Mapping[type[Change], tuple[bytes, str]] = {
    UpdateJob: (b"UPDATE", "UpdateJob"),
    RunJob: (b"RUN", "RunJob"),
    RetryJob: (b"RETRY", "RetryJob"),
    HoldJob: (b"HOLD", "HoldJob"),
    ReleaseJob: (b"RELEASE", "ReleaseJob"),
}


def call_parts(arguments: Sequence[Arguments]) -> Iterator[tuple[int, int]]:
    """Cut a batch into script calls: first and end index of each."""
    return parts([sum(map(len, one)) for one in arguments], CALL_JOBS, _CALL_BYTES)


def add_arguments(arguments: Iterable[Arguments], *, claimed: bool = False) -> list[bytes | str]:
    """What add.lua is given. claimed: whoever sends it claims what is due next."""
    flat: list[bytes | str] = [secrets.token_hex(8), b"1" if claimed else b""]
    last: bytes | None = None
    for head, body in arguments:
        flat += (b"" if head is last else head, body)
        last = head
    return flat


def claim_arguments(
    types: Mapping[str, int], limit: int, lease: timedelta, request: bytes, repeated: bool = False
) -> list[bytes | str | int]:
    """What claim.lua is given."""
    return [limit, to_ms(lease), request, int(repeated), *(part for one in types.items() for part in one)]


def finish_arguments(outcome: AttemptOutcome) -> Arguments:
    """How an attempt ended, as finish.lua reads it."""
    said = b""
    if outcome.ending is Ending.COMPLETED:
        said = b"" if outcome.result is None else b"+" + outcome.result
    elif outcome.error is not None:
        said = records.error_bytes(outcome.error)
    retry_ms = -1 if outcome.retry_in is None else to_ms(outcome.retry_in)
    retry = str(retry_ms)
    if outcome.pause is not None:
        retry += f" {to_ms(outcome.pause.span)} {outcome.pause.limit}"
    return outcome.lease.token, outcome.ending.name.encode(), said, retry.encode()


def verb_of(change: Change) -> str:
    """The call that asks for it."""
    return _VERBS[type(change)][1]


def update_arguments(change: Change) -> Arguments:
    """A change of a job, as update.lua reads it."""
    fixed, payload, terms = b"", b"", b""
    if isinstance(change, UpdateJob):
        fixed = records.change_arguments(change.when, change.priority, change.revision)
        payload = b"" if change.payload is None else records.payload_bytes(change.payload)
        terms = b"" if change.terms is None else records.terms_bytes(change.terms, change.tags or {})
    return _VERBS[type(change)][0], change.job_id.encode(), fixed, payload, terms


def settings_arguments(settings: QueueSettings, *, paused: bool) -> list[bytes | str | int]:
    """What put_settings.lua is given."""
    maxima = ["" if one is None else one for one in (settings.completed_max, settings.failed_max)]
    until = "" if settings.pause_until is None else time_to_ms(settings.pause_until)
    draining = "1" if settings.draining else ""
    ageing = "" if settings.priority_ageing is None else to_ms(settings.priority_ageing)
    said = settings_bytes(settings), *maxima, packed_limits(settings), until, draining, ageing
    return [secrets.token_hex(8), int(paused), settings.pause_reason.encode(), *said]
