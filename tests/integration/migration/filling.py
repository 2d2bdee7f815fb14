"""A queue with jobs of every kind, brought about by the store's own verbs."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import timedelta

from contract.builders import (
    HOUR,
    LATER,
    RAW,
    SECOND,
    a_query,
    a_request,
    a_spec,
    completed,
    failed,
    released,
    wish,
)
from tocsin_server.domain.defaults import JobDefaults
from tocsin_server.domain.job import Draft, Job, Payload, Retention, Terms
from tocsin_server.domain.lease import AttemptOutcome, Claimed
from tocsin_server.domain.queues import QueueSettings
from tocsin_server.domain.retry import Backoff, RetryPolicy
from tocsin_server.domain.states import PENDING
from tocsin_server.store.interface import JobStore

TYPES = ("send", "resize", "tidy")
_BATCH = 1_000
#: A Struct whose keys are not sorted, with a field that no message has: bytes that nobody may write anew.
_ODD_STRUCT = b"\x0a\x05\x0a\x01z\x12\x00\x0a\x05\x0a\x01a\x12\x00\xf8\x7f\x07"


async def fill(store: JobStore, queue: str, jobs: int, *, seed: int = 1, tried: int = 300) -> None:
    """So many jobs: SCHEDULED and WAITING, ended in each way, failed and to be tried again, given back; tags, retry
    policies, ids and payloads of many shapes; settings and a note beside them. Nothing is ACTIVE at the end. So many
    of each 1,000 are `tried`, which is what takes long."""
    draw = random.Random(seed)
    for start in range(0, jobs, _BATCH):
        await store.add([_draft(draw, queue, number) for number in range(start, min(start + _BATCH, jobs))])
        claim = await store.claim(queue, dict.fromkeys(TYPES, 100), tried, lease=HOUR, request=a_request())
        await store.finish([_end(draw, one) for one in claim.claimed])
    some = await _some(store, queue, jobs // 50)
    await store.cancel(queue, [wish(job, reason="räumt auf", by="ada") for job in some])
    settings = QueueSettings(
        defaults=JobDefaults(timeout=5 * SECOND),
        type_defaults={"send": JobDefaults(concurrency=2)},
        completed_max=jobs,
        failed_max=jobs,
    )
    await store.put_settings(queue, settings, paused=False)
    await store.write_note(queue, "booking/42", b"\x00a note", revision=0, until=LATER)


def _draft(draw: random.Random, queue: str, number: int) -> Draft:
    bodies = (b"", b"{}", _ODD_STRUCT, draw.randbytes(draw.randrange(200)))
    payload = draw.choice((None, *(Payload(RAW, body) for body in bodies), Payload(10, _ODD_STRUCT)))
    spec = a_spec(queue=queue, type=draw.choice(TYPES), priority=draw.randrange(-3, 4), payload=payload)
    if draw.random() < 0.2:
        retry = RetryPolicy(7, Backoff.FIXED, timedelta(milliseconds=1500), HOUR, 0.0)
        spec = replace(spec, terms=Terms(retry, 90 * SECOND, Retention(48 * HOUR, 72 * HOUR)))
    if draw.random() < 0.2:
        spec = replace(spec, tags={"customer": f"c{draw.randrange(9)}", "art": "größer"})
    job_id = None if draw.random() < 0.5 else f"buchung/{number}/\U0001f514"
    when = draw.choice((timedelta(0), timedelta(0), draw.random() * 24 * HOUR + HOUR))
    return Draft(spec, job_id, when)


def _end(draw: random.Random, one: Claimed) -> AttemptOutcome:
    ends: tuple[AttemptOutcome, ...] = (
        completed(one, b"\x0a\x02ok"),
        completed(one),
        failed(one, message="ünlucky", trace="line 1\nline 2"),
        failed(one, retry_in=2 * HOUR),
        failed(one, retry_in=timedelta(0)),
        released(one),
    )
    return draw.choice(ends)


async def _some(store: JobStore, queue: str, count: int) -> list[Job]:
    page = await store.page(a_query(queue=queue, states=PENDING, limit=max(1, min(count, 1000))))
    return list(page.jobs)
