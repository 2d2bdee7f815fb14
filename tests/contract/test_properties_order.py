"""Promise 4: within one queue, over the types that a claim asks for, higher priority first, then by due time, then by
arrival."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st
from tocsin_server.domain.job import Job
from tocsin_server.store.interface import JobStore

from contract.backdating import Backdate
from contract.builders import HOUR, INT32, LATER, MINUTE, NOW, a_draft, a_request, added
from contract.properties import a_queue, bounded
from contract.providers import Provider

priorities = st.one_of(st.sampled_from([*INT32, -1, 0, 1, 2**24, 2**24 + 1]), st.integers(*INT32))
#: How many ms over an hour ago it came due, up to 31 years; 0: it is due now.
dues = st.one_of(st.just(0), st.integers(0, 3), st.integers(0, 10**12))
ids = st.none() | st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=20)
TYPES = [f"t{i}" for i in range(14)]


@bounded(150)
@given(
    jobs=st.lists(st.tuples(priorities, dues, ids, st.sampled_from(TYPES)), min_size=1, max_size=40),
    wanted=st.lists(st.sampled_from(TYPES), min_size=1, unique=True),
    limit=st.integers(1, 50),
    most=st.integers(1, 10),
)
async def test_jobs_are_leased_in_the_order_promised(
    store: JobStore,
    provider: Provider,
    backdate: Backdate,
    jobs: list[tuple[int, int, str | None, str]],
    wanted: list[str],
    limit: int,
    most: int,
) -> None:
    queue = a_queue(provider)
    unique: dict[object, tuple[int, int, str | None, str]] = {}
    for priority, ago, job_id, kind in jobs:
        unique.setdefault(job_id or object(), (priority, ago, job_id, kind))
    drafts = [
        a_draft(job_id, queue=queue, type=kind, priority=priority, when=LATER if ago else NOW)
        for priority, ago, job_id, kind in unique.values()
    ]
    standing = await added(store, *drafts)
    due = {}
    for job, (_, ago, _, _) in zip(standing, unique.values(), strict=True):
        due[job.arrival] = job.schedule_time
        if ago:
            back = LATER - job.create_time + HOUR + timedelta(milliseconds=ago)
            backdate.due(job, by=back)
            due[job.arrival] -= back
    expected = sorted(
        (job for job in standing if job.spec.type in wanted),
        key=lambda job: (-job.spec.priority, due[job.arrival], job.arrival),
    )

    found: list[Job] = []
    while True:
        room = dict.fromkeys(wanted, most)
        claim = await store.claim(queue, room, limit, lease=MINUTE, request=a_request())
        kinds = [one.job.spec.type for one in claim.claimed]
        assert len(kinds) <= limit
        assert all(kinds.count(kind) <= most for kind in wanted)
        # Of what is left, the best within the limits.
        left = [job for job in expected if job.arrival not in {job.arrival for job in found}]
        best: list[str] = []
        used = dict.fromkeys(wanted, 0)
        for job in left:
            if used[job.spec.type] < most and len(best) < limit:
                used[job.spec.type] += 1
                best.append(job.job_id)
        names = [one.job.job_id for one in claim.claimed]
        assert names == best[: len(names)]
        assert claim.more or len(names) == len(best)
        found += [one.job for one in claim.claimed]
        if not claim.claimed and not claim.more:
            break
    assert len(found) == len(expected)
    if most >= len(expected):
        assert [job.job_id for job in found] == [job.job_id for job in expected]
