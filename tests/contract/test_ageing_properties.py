"""Any jobs, claimed in any pieces, begin in the order of due time - priority * priority_ageing."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st
from tocsin_server.domain.conditions import NO_CONDITIONS, Conditions
from tocsin_server.domain.queue_limits import Limit, LimitScope
from tocsin_server.domain.queues import QueueSettings
from tocsin_server.domain.states import State
from tocsin_server.store.interface import JobStore

from contract.builders import EARLIER, HOUR, INT32, MILLISECOND, SECOND, a_job, a_request, placed
from contract.properties import a_queue, bounded
from contract.providers import Provider

priorities = st.integers(-3, 3) | st.sampled_from(INT32) | st.integers(*INT32)
#: In steps of the setting, and ms beside, so that many lie at a border.
dues = st.tuples(st.integers(-5, 5), st.sampled_from([-1, 0, 0, 1]))
steps = st.sampled_from([SECOND, 10 * SECOND, timedelta(days=30)])
settings = st.sampled_from(
    [
        QueueSettings(),
        QueueSettings(limits=(Limit("all", LimitScope.QUEUE, max_active=900),)),
        QueueSettings(limits=(Limit("key", LimitScope.KEY, max_active=100),)),
        QueueSettings(limits=(Limit("key of t", LimitScope.KEY, "t", max_active=100),)),
    ]
)


@bounded(150)
@given(
    settings=settings,
    step=steps,
    others=st.lists(st.none() | steps, max_size=2),
    jobs=st.lists(
        st.tuples(priorities, dues, st.sampled_from("tuv"), st.sampled_from(["", "", "a", "b"])), max_size=60
    ),
    sizes=st.lists(st.integers(1, 9), min_size=1, max_size=5),
)
async def test_claims_of_any_sizes_give_all_jobs_in_the_one_order(
    store: JobStore,
    provider: Provider,
    settings: QueueSettings,
    step: timedelta,
    others: list[timedelta | None],
    jobs: list[tuple[int, tuple[int, int], str, str]],
    sizes: list[int],
) -> None:
    queue = a_queue(provider)
    if others:
        await store.put_settings(queue, replace(settings, priority_ageing=others[0]), paused=False)
    standing = []
    for n, (priority, (whole, ms), type_, key) in enumerate(jobs):
        due = EARLIER + whole * step + ms * MILLISECOND
        conditions = Conditions(key) if key else NO_CONDITIONS
        life = {"schedule_time": due}
        standing.append(
            a_job(f"{n}", State.WAITING, life=life, queue=queue, priority=priority, type=type_, conditions=conditions)
        )
    if standing:
        await placed(store, *standing)
    for other in (*others[1:], step):
        await store.put_settings(queue, replace(settings, priority_ageing=other), paused=False)

    def rank(n: int) -> tuple[int, int, int]:
        due = (standing[n].schedule_time - EARLIER) // MILLISECOND
        return due - standing[n].spec.priority * (step // MILLISECOND), due, n

    order = [f"{n}" for n in sorted(range(len(standing)), key=rank)]
    found: list[str] = []
    at = 0
    while True:
        size = sizes[at % len(sizes)]
        claim = await store.claim(queue, dict.fromkeys("tuv", size), size, lease=HOUR, request=a_request())
        names = [one.job.job_id for one in claim.claimed]
        assert names == order[len(found) : len(found) + len(names)]
        assert claim.more or len(names) == min(size, len(order) - len(found))
        found += names
        at += 1
        if not claim.claimed and not claim.more:
            break
    assert found == order
