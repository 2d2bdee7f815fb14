"""Rules on bulk actions: as payload bulk_action, and as BulkService is asked for them."""

from __future__ import annotations

from datetime import timedelta

from tocsin.v1 import payloads_pb2

from tocsin_server.api.requests.violations import Violations
from tocsin_server.domain import limits
from tocsin_server.domain.bulk_actions import ALLOWED_STATES, BulkVerb
from tocsin_server.domain.states import State
from tocsin_server.handlers.job_filters import FILTER_TIMES

_VERBS = ", ".join(BulkVerb)
_OTHERS = ("states", "types", "tags")
_BOUNDS = ("priority_min", "priority_max", *FILTER_TIMES)


def check_bulk_action(wrong: Violations, path: str, action: payloads_pb2.BulkAction) -> None:
    """What somebody schedules by himself."""
    if action.HasField("moment"):
        wrong.add(f"{path}.moment", "is set by BulkService.BulkAct alone")
    if action.by:
        wrong.add(f"{path}.by", "is set by BulkService.BulkAct alone")
    check_wish(wrong, f"{path}.", action)


def check_kept_bulk_action(wrong: Violations, path: str, action: payloads_pb2.BulkAction) -> None:
    """What stood in a store already."""
    check_wish(wrong, f"{path}.", action)


def check_wish(wrong: Violations, at: str, action: payloads_pb2.BulkAction) -> None:
    """What is to be done to which jobs. `at`: what paths of fields begin with."""
    wrong.queue(f"{at}queue", action.queue)
    name = action.WhichOneof("action")
    if name is None:
        wrong.add(f"{at}action", f"is needed: one of {_VERBS}")
    else:
        _check_act(wrong, f"{at}{name}", action, BulkVerb(name))
    if action.HasField("filter"):
        _check_filter(wrong, f"{at}filter", action.filter, None if name is None else BulkVerb(name))
    else:
        wrong.add(f"{at}filter", 'is needed; where all jobs are meant it is {"all": true}')
    if action.HasField("max_jobs") and action.max_jobs < 1:
        wrong.add(f"{at}max_jobs", f"is {action.max_jobs:,}; the least is 1, and absent means all")


def _check_filter(wrong: Violations, path: str, filter_: payloads_pb2.BulkFilter, verb: BulkVerb | None) -> None:
    given = [name for name in _OTHERS if getattr(filter_, name)]
    given += [name for name in _BOUNDS if filter_.HasField(name)]  # type: ignore[arg-type]  # names of fields
    if filter_.all and given:
        wrong.add(f"{path}.all", f"stands beside {given[0]}; all jobs are meant, or those that match")
    elif not filter_.all and not given:
        wrong.add(path, "is empty: give states, types, tags or another filter, or all")
    of_verb = "" if verb is None else f", which {verb} is for"
    allowed = sorted(state.name for state in (State if verb is None else ALLOWED_STATES[verb]))
    if wrong.count(f"{path}.states", filter_.states, limits.FILTER_STATES):
        for i, name in enumerate(filter_.states):
            if name not in allowed:
                wrong.add(f"{path}.states[{i}]", f"is none of {', '.join(allowed)}{of_verb}")
    wrong.names(f"{path}.types", filter_.types)
    wrong.tags(f"{path}.tags", filter_.tags)
    for name in FILTER_TIMES:
        if filter_.HasField(name):  # type: ignore[arg-type]  # one of the names above
            wrong.time(f"{path}.{name}", getattr(filter_, name))


def _check_act(wrong: Violations, path: str, action: payloads_pb2.BulkAction, verb: BulkVerb) -> None:
    if verb is BulkVerb.CANCEL:
        wrong.text(f"{path}.reason", action.cancel.reason, limits.REASON_BYTES)
        if action.cancel.HasField("grace"):
            wrong.span(f"{path}.grace", action.cancel.grace, timedelta(0), limits.MAX_GRACE, "0 to 24 h")
    elif verb is BulkVerb.MOVE:
        target = action.move.queue
        wrong.name(f"{path}.queue", target)
        if target and target == (action.queue or limits.DEFAULT_QUEUE):
            wrong.add(f"{path}.queue", "is where the jobs stand already")
    elif verb is BulkVerb.RETIME:
        when = action.retime.WhichOneof("when")
        if when is None:
            wrong.add(f"{path}.to", "is needed, or by")
        elif when == "to":
            wrong.time(f"{path}.to", action.retime.to)
        else:
            by = action.retime.by
            wrong.span(f"{path}.by", by, -limits.MAX_DELAY, limits.MAX_DELAY, "100 years at most, either way")
            if not by.seconds and not by.nanos:
                wrong.add(f"{path}.by", "is 0, which changes nothing")
