"""Domain objects to documents and back. A job is one document:

_id        "<queue>/<job_id>"
queue, id, type, priority, tags ["key=value", ...], spec {retry, timeout, retention}, payload {kind, body}, bytes
conditions {limit_key, weight, ...}         where there are any (store/condition_records.py)
key        "<type>:<its collapse's key>", where it has one
after      beside that the arrival of the newest job of the key when this one was made, of which no two have the same:
           so of two that are asked for at one moment one is made. Where it came otherwise a random negative number
state      negative while it is held: what claims ask for does not find it
arrival, attempt, failures, crashes, revision
create, due, start, end, lease, expire      dates, in milliseconds; lease only of ACTIVE, end of ended ones; expire of
           ended ones, and of those that are to be looked at by themselves: they expire, or wait for one of their key
token      of the last attempt: the 8 bytes of the claim that began it
errors, progress, result, cancel            where there are any
placed     where its queue has limits: 1, it has a place under them (places.py); 2, and keeps that of its key while it
           waits for its retry
fired      true: a schedule made it, of the nominal time that its id bears
logged     it has lines of log (job_logs.py), or had some
parents    of a job that waits for others, or did: {queue, id, arrival, end}; open: how many of them have not ended
watched    true: others wait for its end, or follow it; untold: {how, revision} of ends of which they are to hear
errand     when it is to be looked at for either of that (dependencies.py)
unfiled    where the queue's keys take turns: by which change it came to wait, until a claim has seen it (turns.py)
number     of the last change that watchers heard of, or one taken with it; only grows
writes, ops the compare-and-swap counter, which begins anywhere, and whose writes the last ones were (jobs.py)

Spans of time are whole milliseconds. `bytes` is the size of the payload, as long as it is when it is clear.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from bson.int64 import Int64

from tocsin_server.domain import limits
from tocsin_server.domain.conditions import NO_CONDITIONS
from tocsin_server.domain.dependencies import ParentEnd, ParentJob
from tocsin_server.domain.job import Cancel, Draft, Job, JobError, JobSpec, Payload, Progress, Retention, Terms, View
from tocsin_server.domain.retry import Backoff, RetryPolicy
from tocsin_server.domain.sealed import payload_size
from tocsin_server.domain.states import ENDED, PENDING, State
from tocsin_server.domain.times import EPOCH, MILLISECOND
from tocsin_server.store.condition_records import conditions_bytes, conditions_of, conditions_to_json

Document = dict[str, Any]
#: What only View.FULL reads.
HEAVY = ("payload", "result")
#: And what is read by itself alone (dependencies.py).
UNREAD = (*HEAVY, "parents")
#: So often a job that waits for one of its key is looked at, at the latest.
BLOCKED_LOOK = timedelta(seconds=30)
_COMMON_RETRY = {"max_attempts": 3, "backoff": 2, "initial_delay": 2_000, "max_delay": 3_600_000, "jitter": 0.2}


def to_ms(span: timedelta) -> Int64:
    """Whole milliseconds, rounded up: nothing may start early, no limit may be cut."""
    return Int64(-(-span // MILLISECOND))


def span(ms: int) -> timedelta:
    """A span of time from stored milliseconds."""
    return timedelta(milliseconds=ms)


def whole(time: datetime) -> datetime:
    """The time to the millisecond, rounded up."""
    return EPOCH + span(to_ms(time - EPOCH))


def text(said: str) -> str:
    """What BSON can hold: a lone surrogate, which is no character, becomes a question mark."""
    return said.encode(errors="replace").decode()


def key(queue: str, job_id: str) -> str:
    """A job's _id. A queue's name has no slash."""
    return f"{queue}/{job_id}"


def token_of(document: Mapping[str, Any]) -> bytes:
    """The token of the job's last attempt: its arrival number and the request that claimed it."""
    return int(document["arrival"]).to_bytes(6, "big") + bytes(document.get("token", b""))


def due_time(when: datetime | timedelta, now: datetime) -> datetime:
    """When a job is due; what has passed means now."""
    return max(now, now + span(to_ms(when)) if isinstance(when, timedelta) else whole(when))


# --- what goes in ---


def new_document(draft: Draft, job_id: str, arrival: int, now: datetime) -> Document:
    """A job as it begins, SCHEDULED or WAITING."""
    due = due_time(draft.when, now)
    document = job_document(
        draft.spec,
        job_id,
        arrival=Int64(arrival),
        state=int(State.SCHEDULED if due > now else State.WAITING),
        create=now,
        due=due,
        attempt=0,
        failures=0,
        crashes=0,
        revision=1,
    )
    if draft.fired:
        document["fired"] = True
    if draft.parents:
        set_parents(document, draft.parents)
        document["state"] = int(State.BLOCKED)
        document["errand"] = next_look(document, now, limits.ASK_PARENTS)
    set_alarm(document, now)
    return document


def set_parents(document: Document, parents: Sequence[ParentJob]) -> None:
    """Say whom a job waits for, or waited for."""
    document["parents"] = list(map(parent_document, parents))
    document["open"] = sum(parent.end is ParentEnd.OPEN for parent in parents)


def parent_document(parent: ParentJob) -> Document:
    """One of them."""
    return {"queue": parent.queue, "id": parent.job_id, "arrival": Int64(parent.arrival), "end": int(parent.end)}


def parent_of(document: Mapping[str, Any]) -> ParentJob:
    """The same, from its document."""
    return ParentJob(document["queue"], document["id"], int(document["arrival"]), ParentEnd(document["end"]))


def next_look(document: Mapping[str, Any], now: datetime, after: timedelta) -> datetime:
    """When a job that waits for others is to be looked at again: so long from now, or at its block_timeout."""
    depends = conditions_of(document.get("conditions")).depends
    if depends is None or depends.block_timeout is None:
        return now + after
    look: datetime = min(now + after, document["create"] + span(to_ms(depends.block_timeout)))
    return look


def set_alarm(document: Document, now: datetime) -> None:
    """Say when a job that has not ended is to be looked at by itself."""
    state, times = abs(document["state"]), []
    if state in ENDED:
        return
    if state in PENDING and not document["attempt"] and (by := begin_by(document)) is not None:
        times.append(by)
    if state == State.BLOCKED and "key" in document:
        times.append(now + BLOCKED_LOOK)  # in case that who ends the other one dies before it lets this one go
    if times:
        document["expire"] = min(times)
    else:
        document.pop("expire", None)


def begin_by(document: Mapping[str, Any]) -> datetime | None:
    """By when a job must begin that has not."""
    said = document.get("conditions")
    return conditions_of(said).begin_by(document["due"]) if said else None


def job_document(spec: JobSpec, job_id: str, **fields: Any) -> Document:
    """A job's document at its first write, with these fields of its life."""
    document: Document = {
        "_id": key(spec.queue, job_id),
        "queue": spec.queue,
        "id": job_id,
        "type": spec.type,
        "priority": spec.priority,
        **fields,
        "writes": Int64(secrets.randbits(62)),  # never that of another job which stood under this id
        "spec": _terms_document(spec.terms),
    }
    _set_tags(document, spec.tags)
    if spec.conditions is not NO_CONDITIONS:
        document["conditions"] = conditions_to_json(spec.conditions)
        if (collapse := spec.conditions.collapse) is not None:
            document["key"] = f"{spec.type}:{collapse.key}"
            document["after"] = Int64(-1 - secrets.randbits(62))
        if spec.conditions.on_end is not None:
            document["watched"] = True
    set_payload(document, spec.payload)
    return document


def set_terms(document: Document, terms: Terms, tags: Mapping[str, str]) -> None:
    """Give a job other terms and tags."""
    document["spec"] = _terms_document(terms)
    _set_tags(document, tags)


def _set_tags(document: Document, tags: Mapping[str, str]) -> None:
    document.pop("tags", None)
    if tags:
        document["tags"] = [f"{name}={value}" for name, value in tags.items()]


def set_payload(document: Document, payload: Payload | None) -> None:
    """Give a job another payload."""
    if payload is None:
        document.pop("payload", None)
        document["bytes"] = 0
    else:
        document["payload"] = {"kind": payload.kind, "body": payload.body}
        document["bytes"] = payload_size(payload.kind, payload.body)


def _terms_document(terms: Terms) -> Document:
    retry = terms.retry
    document: Document = {
        "retry": {
            "max_attempts": retry.max_attempts,
            "backoff": int(retry.backoff),
            "initial_delay": to_ms(retry.initial_delay),
            "max_delay": to_ms(retry.max_delay),
            "jitter": float(retry.jitter),
        },
        "retention": {
            "completed_for": to_ms(terms.retention.completed_for),
            "failed_for": to_ms(terms.retention.failed_for),
        },
    }
    if terms.timeout is not None:
        document["timeout"] = to_ms(terms.timeout)
    return document


def spec_bytes(document: Mapping[str, Any]) -> int:
    """What a job's spec takes beside its payload, counted as the Redis store counts it: both refuse at one size."""
    spec = document["spec"]
    tags = sum(2 + len(tag.encode()) - 1 for tag in document.get("tags", ()))
    retry = 0 if spec["retry"] == _COMMON_RETRY else 23
    conditions = len(conditions_bytes(conditions_of(said))) if (said := document.get("conditions")) else 0
    return 3 + len(document["type"]) + conditions + tags + retry + (6 if "timeout" in spec else 0)


def error_document(error: JobError, now: datetime, attempt: int) -> Document:
    """An attempt's error."""
    return {
        "type": text(error.type),
        "message": text(error.message),
        "trace": text(error.trace),
        "time": now,
        "attempt": attempt,
    }


# --- what comes out ---


def job_of(document: Mapping[str, Any], view: View) -> Job:
    """A job from its document. BASIC leaves out payload, result and traces."""
    full = view is View.FULL
    payload = document.get("payload") if full else None
    state = State(abs(document["state"]))
    return Job(
        document["id"],
        _spec_of(document, None if payload is None else Payload(payload["kind"], bytes(payload["body"]))),
        state,
        document["create"],
        document["due"],
        document.get("start"),
        document.get("end"),
        document["attempt"],
        document["failures"],
        document["crashes"],
        document["revision"],
        int(document["arrival"]),
        tuple(_error_of(one, full) for one in document.get("errors", ())),
        _progress_of(document.get("progress")),
        bytes(result) if full and (result := document.get("result")) is not None else None,
        _cancel_of(document.get("cancel")),
        document.get("fired", False),
        document["state"] < 0,
        document.get("watched", False),
    )


def _spec_of(document: Mapping[str, Any], payload: Payload | None) -> JobSpec:
    spec = document["spec"]
    retry, retention = spec["retry"], spec["retention"]
    tags = {}
    for tag in document.get("tags", ()):
        name, _, value = tag.partition("=")
        tags[name] = value
    return JobSpec(
        document["queue"],
        document["type"],
        payload,
        document["priority"],
        Terms(
            RetryPolicy(
                retry["max_attempts"],
                Backoff(retry["backoff"]),
                span(retry["initial_delay"]),
                span(retry["max_delay"]),
                retry["jitter"],
            ),
            span(spec["timeout"]) if "timeout" in spec else None,
            Retention(span(retention["completed_for"]), span(retention["failed_for"])),
        ),
        tags,
        conditions_of(document.get("conditions")),
    )


def _error_of(document: Mapping[str, Any], full: bool) -> JobError:
    trace = document.get("trace", "") if full else ""
    return JobError(document["type"], document["message"], trace, document["time"], document["attempt"])


def _progress_of(document: Mapping[str, Any] | None) -> Progress | None:
    if document is None:
        return None
    return Progress(document["fraction"], document["message"], document["time"])


def _cancel_of(document: Mapping[str, Any] | None) -> Cancel | None:
    if document is None:
        return None
    return Cancel(
        document["reason"],
        document["by"],
        span(document["grace"]),
        document["asked"],
        document.get("delivered"),
        document.get("obeyed"),
    )


def ended(document: Mapping[str, Any]) -> bool:
    """Whether the job has ended."""
    return document["state"] in ENDED
