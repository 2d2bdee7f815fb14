"""Jobs of type bulk_action: one act on all jobs of a queue that match."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from tocsin.v1.payloads_pb2 import BulkAction, BulkFilter
from tocsin.worker.context import JobContext
from tocsin.worker.errors import DoNotRetry
from tocsin.worker.registry import Handlers

from tocsin_server.domain import limits
from tocsin_server.domain.bulk_actions import (
    BULK_TYPE,
    DEFAULT_STATES,
    MAX_COUNTS,
    ActionMoment,
    BulkAct,
    BulkOrder,
    BulkTokenStale,
    BulkVerb,
)
from tocsin_server.domain.errors import QueueDraining
from tocsin_server.domain.filters import JobFilter
from tocsin_server.domain.states import State
from tocsin_server.domain.times import span_of, time_of
from tocsin_server.handlers.job_filters import filter_of
from tocsin_server.handlers.server_loop import ServerLoop
from tocsin_server.operations.bulk_actions.running import RunBulkActions
from tocsin_server.operations.bulk_actions.state import ActionName, ActionState, OutrunAction

_CONCURRENCY = 4  # actions at once in a process; they share its store with all else


class BulkActionHandler:
    """Runs bulk_action jobs."""

    def __init__(self, actions: RunBulkActions, server: ServerLoop) -> None:
        self._actions = actions
        self._server = server

    def register(self, handlers: Handlers) -> None:
        """Make these handlers serve bulk_action."""
        handlers.on(BULK_TYPE, concurrency=_CONCURRENCY)(self.act)

    async def act(self, job: JobContext) -> dict[str, object]:
        """Act, or go on where an earlier attempt was broken off.

        Returns {"queue", "action", "matched", "done", "counts": [{"state", "type", "jobs"}], "changed_meanwhile",
        "refused", "refusals": [{"job_id", "reason", "message"}]} of all attempts together. Cancelled, it stops after
        the step under way. DoNotRetry where the payload is unfit, changes cannot be told any more, or, as it begins,
        the queue to move to takes no new jobs.
        """
        payload = job.payload
        if not isinstance(payload, BulkAction):
            raise DoNotRetry(f"a job of type {BULK_TYPE} needs the payload {BULK_TYPE}")
        order = order_of(payload, job.queue, payload.by or f"{job.queue}/{job.job_id}")
        name = ActionName(job.queue, job.job_id, job.create_time)

        def tell(state: ActionState) -> None:
            left = f" of {state.matched:,}" if state.matched is not None else ""
            share = min(1.0, state.done_jobs / state.matched) if state.matched else 0.0
            job.progress(share, f"{order.act.verb}: {state.done_jobs:,}{left} jobs")

        # A step is not broken off: it would have to be found out later what it had done.
        running = asyncio.ensure_future(
            self._server.run(lambda: self._actions.run(order, name, tell, lambda: job.cancelled))
        )
        try:
            state = await asyncio.shield(running)
        except asyncio.CancelledError:
            if not (await running).finished:
                raise
            state = running.result()
        except (BulkTokenStale, QueueDraining) as error:
            raise DoNotRetry(str(error)) from None
        except OutrunAction:
            raise DoNotRetry("another attempt goes on with this action") from None
        return _result(order, state)


def order_of(payload: BulkAction, around: str, by: str) -> BulkOrder:
    """What a payload wishes. `around`: the queue that is meant where it names none. DoNotRetry where it is unfit; one
    that was checked is not."""
    name = payload.WhichOneof("action")
    if name is None:
        raise DoNotRetry("action is needed")
    verb = BulkVerb(name)
    if verb is BulkVerb.MOVE and payload.move.queue == (payload.queue or around):
        raise DoNotRetry("move.queue is where the jobs stand already")
    return BulkOrder(
        queue=payload.queue or around,
        filter=_filter_of(payload.filter, verb),
        act=_act_of(payload, verb),
        by=by,
        max_jobs=payload.max_jobs if payload.HasField("max_jobs") else None,
        moment=_moment_of(payload.moment) if payload.HasField("moment") else None,
    )


def _filter_of(filter_: BulkFilter, verb: BulkVerb) -> JobFilter:
    try:
        states = frozenset(State[name] for name in filter_.states)
    except KeyError as unknown:
        raise DoNotRetry(f"filter.states: {unknown} is no state") from None
    return filter_of(filter_, states or DEFAULT_STATES[verb])


def _act_of(payload: BulkAction, verb: BulkVerb) -> BulkAct:
    match verb:
        case BulkVerb.CANCEL:
            wish = payload.cancel
            grace = _span(wish.grace) if wish.HasField("grace") else limits.DEFAULT_GRACE
            return BulkAct(verb, reason=wish.reason, grace=grace)
        case BulkVerb.RETIME:
            retime = payload.retime
            if retime.WhichOneof("when") == "to":
                return BulkAct(verb, to=_time(retime.to))
            return BulkAct(verb, by=_span(retime.by))
        case BulkVerb.MOVE:
            return BulkAct(verb, target=payload.move.queue)
        case BulkVerb.PRIORITY:
            return BulkAct(verb, priority=payload.priority.priority)
        case _:
            return BulkAct(verb)


def _moment_of(moment: BulkAction.Moment) -> ActionMoment:
    matched = moment.matched if moment.HasField("matched") else None
    return ActionMoment(_time(moment.time), moment.arrival, moment.cursor, matched)


def _time(value: Timestamp) -> datetime:
    return time_of(value.seconds, value.nanos)


def _span(value: Duration) -> timedelta:
    return span_of(value.seconds, value.nanos)


def _result(order: BulkOrder, state: ActionState) -> dict[str, object]:
    return {
        "queue": order.queue,
        "action": str(order.act.verb),
        "matched": state.matched,
        "done": state.done_jobs,
        "counts": [
            {"state": state_.name, "type": type_, "jobs": jobs}
            for (state_, type_), jobs in state.done.most_common(MAX_COUNTS)
        ],
        "changed_meanwhile": state.changed,
        "refused": state.refused,
        "refusals": [{"job_id": one.job_id, "reason": one.reason, "message": one.message} for one in state.refusals],
    }
