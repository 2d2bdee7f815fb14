"""All that a store says of a queue, held against the model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from datetime import datetime, timedelta

from tocsin_server.domain.events import Event
from tocsin_server.domain.filters import Order
from tocsin_server.domain.job import Job, View
from tocsin_server.domain.queue_limits import LimitScope
from tocsin_server.domain.queues import QueueFigures, Tick
from tocsin_server.domain.states import ENDED, State
from tocsin_server.store.interface import JobStore

from contract.builders import NOW, SECOND, a_query, pages
from contract.model.jobs import ACTIVE, BLOCKED, CANCELLED, SCHEDULED, WAITING, Modelled
from contract.model.limits import Limited

#: A store's time and the driver's may be so far apart; all that happens in the model lies further apart.
NEAR = timedelta(minutes=1)


def basic(job: Job) -> Job:
    """As a View.BASIC has it."""
    spec = replace(job.spec, payload=None)
    return replace(job, spec=spec, result=None, errors=tuple(replace(one, trace="") for one in job.errors))


def same(what: str, said: object, expected: object) -> None:
    """They are equal, or an AssertionError says in what they are not."""
    assert said == expected, f"{what}: {said!r}, and not {expected!r}"


def near(what: str, said: datetime | None, expected: datetime | None) -> None:
    """The same time, as near as is known."""
    if said is None or expected is None or abs(said - expected) > NEAR:
        same(what, said, expected)


async def compare(store: JobStore, name: str, model: Limited, called: Mapping[str, str]) -> Sequence[Job]:
    """Read all that stands, and hold it against the model, which takes over exact times. called: names by id."""
    found = [job for page in await pages(store, a_query(queue=name, limit=1_000, view=View.FULL)) for job in page.jobs]
    arrivals = [job.arrival for job in found]
    same("the list's order", arrivals, sorted(arrivals, reverse=True))
    stand = {called.get(job.job_id, job.job_id): job for job in found}
    same("jobs", sorted(stand), sorted(model.jobs))
    _settle_choices(model, stand)
    newest = max((job.order for job in model.jobs.values() if job.placed), default=0)
    for job in sorted(model.jobs.values(), key=lambda one: one.order):
        newest = compare_job(stand[job.name], job, newest)
    model.last = max([model.last, *arrivals])
    _compare_figures(await store.figures(name), model)
    _compare_tick((await store.ticks([name]))[name], model)
    return found


def _settle_choices(model: Limited, stand: Mapping[str, Job]) -> None:
    """Where the model leaves open which of several it was, the store says."""
    for names, asked, comer in model.asked_one_of:
        if comer and stand[comer].state is CANCELLED:
            continue
        left = [name for name in names if model.jobs[name].cancel is None]
        said = [name for name in left if stand[name].cancel is not None]
        model.ask_to_stop(model.jobs[(said or left)[0]], asked)
    model.asked_one_of = []
    for job in model.jobs.values():
        if job.undecided:
            model.decide(job, "undecided", yes=stand[job.name].state is CANCELLED)
        if model.expired(job) and stand[job.name].state is CANCELLED:  # a claim came across it
            model.expire(job)
    model.settle()


def compare_job(said: Job, job: Modelled, newest: int) -> int:
    """One job; returns the highest arrival up to it."""
    name, spec = job.name, said.spec
    for field in ("state", "attempt", "failures", "crashes", "held", "fired", "progress", "result"):
        value = getattr(said, field)
        if field == "progress" and said.progress is not None:
            value = (said.progress.fraction, said.progress.message)
        same(f"{name}.{field}", value, getattr(job, field))
    for field in ("type", "priority", "payload", "terms", "tags", "conditions"):
        same(f"{name}.spec.{field}", getattr(spec, field), getattr(job.spec, field))
    same(f"{name}.errors", [(error.type, error.attempt) for error in said.errors], job.errors)
    cancel = said.cancel and (said.cancel.reason, said.cancel.by, said.cancel.grace)
    same(f"{name}.cancel", cancel, job.cancel and (job.cancel.reason, job.cancel.by, job.cancel.grace))
    if said.cancel is not None and job.cancel is not None:
        near(f"{name}.cancel.ask_time", said.cancel.ask_time, job.cancel.ask)
        same(f"{name}.cancel told", said.cancel.deliver_time is not None, job.cancel.delivered)
        same(f"{name}.cancel obeyed", said.cancel.obey_time is not None, job.cancel.obeyed)
        job.cancel.ask = said.cancel.ask_time
    near(f"{name}.create_time", said.create_time, job.create)
    near(f"{name}.schedule_time", said.schedule_time, job.due)
    near(f"{name}.start_time", said.start_time, job.start)
    near(f"{name}.end_time", said.end_time, job.end)
    near(f"{name}.expire_time", said.expire_time, job.begin_by)
    job.create, job.due, job.start, job.end = said.create_time, said.schedule_time, said.start_time, said.end_time
    if job.changed:
        assert said.revision > job.revision, f"{name} changed, and its revision stays {said.revision}"
    else:
        same(f"{name}.revision", said.revision, job.revision)
    job.unfiled = job.unfiled and not job.changed
    job.revision, job.changed = said.revision, False
    if job.placed:
        same(f"{name}.arrival", said.arrival, job.order)
    else:
        assert said.arrival > newest, f"{name} came last, and its arrival is {said.arrival}"
    job.order, job.placed = said.arrival, True
    return max(newest, said.arrival)


def _compare_figures(figures: QueueFigures, model: Limited) -> None:
    counts = Counter((job.state, job.spec.type) for job in model.jobs.values())
    said = {(state, type_): n for state, types in figures.counts.items() for type_, n in types.items()}
    same("counts", said, dict(counts))
    # One that ended in the call that deleted it was never heard of.
    near("done_deleted", figures.done_deleted, model.gone_completed)
    near("failed_deleted", figures.failed_deleted, model.gone_failed)
    model.gone_completed, model.gone_failed = figures.done_deleted, figures.failed_deleted
    waits = [job.due for job in model.jobs.values() if job.state is WAITING and not job.held]
    waits += [job.due for job in model.overdue()]
    oldest = min(waits, default=None)
    same("oldest_waiting", figures.oldest_waiting, oldest)
    limits = {
        limit.name: (len(model.holders(limit, "")), limit.max_active)
        for limit in model.limits
        if limit.scope is not LimitScope.KEY and limit.max_active is not None
    }
    if figures.limits:
        same("limits", {one.name: (one.active, one.most) for one in figures.limits}, limits)


def _compare_tick(tick: Tick, model: Limited) -> None:
    jobs = model.jobs.values()
    scheduled = [job.due for job in jobs if job.state is SCHEDULED and not job.held]
    same("tick.next_due", tick.next_due, min(scheduled, default=None))
    near("tick.next_lease_end", tick.next_lease_end, min((j.lease_end for j in jobs if j.lease_end), default=None))
    ends = [job.kept_until for job in jobs if job.ended] + [job.begin_by for job in jobs if job.begin_by is not None]
    if not any(job.state is BLOCKED for job in jobs):  # a store may look again for what such a one waits for
        near("tick.next_expiry", tick.next_expiry, min(ends, default=None))
    same("tick.next_schedule", tick.next_schedule, min(model.schedules.values(), default=None))
    waiting = any(job.state is WAITING and not job.held for job in jobs)
    assert tick.waiting or not waiting, "jobs wait, and the tick says that none does"


async def compare_events(
    store: JobStore, name: str, cursor: str, before: Mapping[str, Job], after: Mapping[str, Job]
) -> str:
    """What is told of a call: of each job that changed how it stands now, of each that went that it did, and of no
    other. before, after: by id. Returns the cursor to go on from."""
    changed = {job_id for job_id in {*before, *after} if not _alike(before.get(job_id), after.get(job_id))}
    told = dict[str, Event]()
    for wait in (NOW, SECOND, SECOND):  # a store may tell of it a little later
        batch = await store.events(name, cursor, wait=wait)
        assert not batch.gap, "changes are not told of any more"
        cursor = batch.cursor
        told.update((event.job.job_id, event) for event in batch.events)
        if changed <= told.keys():
            break
    same("told of", sorted(changed - told.keys()), [])
    same("told of for nothing", sorted((told.keys() & {*before, *after}) - changed), [])
    for job_id, event in told.items():
        stands = after.get(job_id)
        same(f"{job_id} is told to be deleted", event.deleted, stands is None)
        if stands is not None:
            said = replace(event.job, errors=stands.errors, progress=stands.progress, cancel=stands.cancel)
            for one in fields(Job):
                value = getattr(basic(said), one.name)
                same(f"{job_id} is told to have {one.name}", value, getattr(basic(stands), one.name))
    return cursor


def _alike(before: Job | None, after: Job | None) -> bool:
    """Whether nothing has changed that is told: a lease that goes on makes no new revision."""
    if before is None or after is None:
        return before is after
    return (before.revision, before.arrival) == (after.revision, after.arrival)


async def compare_lists(
    store: JobStore, name: str, model: Limited, called: Mapping[str, str], states: Sequence[str], types: str, tag: str
) -> None:
    """A list by states, types and tag, whole and from its second job on; and one by time."""
    wanted = frozenset(State[state] for state in states)
    tags = {"k": tag} if tag else {}
    jobs = sorted(model.jobs.values(), key=lambda job: -job.order)
    expected = [
        job.name
        for job in jobs
        if (not wanted or job.state in wanted)
        and (not types or job.spec.type in types)
        and all(job.spec.tags.get(key) == value for key, value in tags.items())
    ]
    query = a_query(queue=name, limit=3, states=wanted, types=frozenset(types), tags=tags)
    for skip in (0, 1):
        found = await pages(store, replace(query, skip=skip))
        said = [called.get(job.job_id, job.job_id) for page in found for job in page.jobs]
        same(f"list, {skip} left out", said, expected[skip:])
        if not tags:
            same("total", found[0].total, len(expected))
    soonest = await pages(store, a_query(queue=name, limit=3, order=Order.SOONEST, states=frozenset({SCHEDULED})))
    said = [called.get(job.job_id, job.job_id) for page in soonest for job in page.jobs]
    coming = [job for job in model.jobs.values() if job.state is SCHEDULED and not job.held]
    same("list by time", said, [job.name for job in sorted(coming, key=lambda job: (job.due, job.order))])


__all__ = ["ACTIVE", "ENDED", "NEAR", "basic", "compare", "compare_lists", "near", "same"]
