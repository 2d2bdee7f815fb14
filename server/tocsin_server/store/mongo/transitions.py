"""What can happen to a standing job, in one place each. Each changes the document in memory; commit.py writes it.

Nested values are replaced, never changed in place: what was read must stay as it was, to tell what is new.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from bson.int64 import Int64

from tocsin_server.domain.commands import CancelJob
from tocsin_server.domain.conditions import EXPIRED
from tocsin_server.domain.job import Draft, JobError
from tocsin_server.domain.states import State
from tocsin_server.store.mongo.documents import (
    Document,
    begin_by,
    error_document,
    new_document,
    set_alarm,
    span,
    text,
    to_ms,
)

_KEPT_ERRORS = 10  # the first and the last 9
_POISON = (
    "the process that ran it died or froze {} times in a row; it is not run again. "
    "Mend the handler, then retry the job."
)


#: A job's place under limits (places.py): it has one; it keeps that of its key while it waits for a retry.
PLACED, KEEPS = 1, 2


@dataclass(slots=True)
class Standing:
    """A job that was read, as it stands now and as it was. `now` is the store's clock at the reading."""

    document: Document
    now: datetime
    before: Document = field(init=False)
    touched: bool = False  # it is to be written
    confirmed: bool = False  # it is to be written back as it is, if nothing else: see `confirm`
    quiet: bool = True  # no event
    gone: bool = False  # it is to be deleted
    anew: bool = False  # the document is another one under the same id, to be written whole
    dropped: set[str] = field(default_factory=set)  # fields that may stand though they were not read
    between: Document | None = None  # what it was in between: never written, and told of all the same

    def __post_init__(self) -> None:
        self.before = dict(self.document)

    @property
    def state(self) -> State:
        """Its state."""
        return State(abs(self.document["state"]))

    @property
    def held(self) -> bool:
        """No attempt is to begin."""
        return bool(self.document["state"] < 0)

    @property
    def cancel_asked(self) -> bool:
        """A cancel was asked of it while it ran."""
        return self.state is State.ACTIVE and "cancel" in self.document


def changed(job: Standing) -> None:
    """It has changed: its revision grows, and watchers hear of it."""
    job.document["revision"] += 1
    if "conditions" in job.document:
        set_alarm(job.document, job.now)
    if "errand" in job.document and job.state is not State.BLOCKED and "untold" not in job.document:
        del job.document["errand"]
    job.touched, job.quiet = True, False


def touch(job: Standing) -> None:
    """It is to be written, and nobody need hear of it."""
    job.touched = True


def confirm(job: Standing) -> None:
    """An answer says that it stands so. What was read may not stand on a majority of the servers yet, and a failover
    would take it back; a write that changes nothing, on the condition that it still stands so, waits for them."""
    job.confirmed = True


def remove(job: Standing) -> None:
    """It is to be deleted."""
    job.touched, job.quiet, job.gone = True, False, True


def add_error(job: Standing, error: JobError) -> None:
    """One more error; the first and the last 9 are kept."""
    errors = [*job.document.get("errors", ()), error_document(error, job.now, job.document["attempt"])]
    if len(errors) > _KEPT_ERRORS:
        del errors[1]
    job.document["errors"] = errors


def end_as(job: Standing, state: State) -> None:
    """It ends now."""
    document, retention = job.document, job.document["spec"]["retention"]
    kept_for = span(retention["failed_for" if state is State.FAILED else "completed_for"])
    document.pop("lease", None)
    document.pop("placed", None)
    document.update(state=int(state), end=job.now, expire=job.now + kept_for)
    changed(job)
    if "watched" in document:  # whoever waits for this is to hear of it
        word = {"how": int(state), "revision": Int64(document["revision"])}
        document.update(untold=[*document.get("untold", ()), word], errand=job.now)


def cancelled(job: Standing) -> None:
    """It ends on request."""
    if "cancel" in job.document:
        job.document["cancel"] = {**job.document["cancel"], "obeyed": job.now}
    end_as(job, State.CANCELLED)


def make_due(job: Standing, due: datetime) -> None:
    """It is due then: SCHEDULED, or WAITING where that has come."""
    job.document.pop("lease", None)
    if job.document.get("placed") == PLACED:
        del job.document["placed"]
    state = int(State.SCHEDULED if due > job.now else State.WAITING)
    job.document.update(due=due, state=-state if job.held else state)
    changed(job)


def refuse(job: Standing, reason: str) -> None:
    """It ends before it has begun, on nobody's request."""
    job.document["cancel"] = {"reason": text(reason), "by": "", "grace": Int64(0), "asked": job.now}
    cancelled(job)


def is_late(job: Standing) -> bool:
    """Whether it had to begin before now, and has not."""
    if "conditions" not in job.document or job.document["attempt"]:
        return False
    by = begin_by(job.document)
    return by is not None and by <= job.now


def expired(job: Standing) -> None:
    """It had not begun when it had to."""
    refuse(job, EXPIRED)


def hold(job: Standing) -> None:
    """No attempt begins."""
    if not job.held:
        job.document["state"] = -job.document["state"]
        changed(job)


def release(job: Standing) -> None:
    """A held one is due when it is due; where its time came meanwhile, now, in its place among the others."""
    if job.held:
        job.document["state"] = int(job.state)
        if job.state is not State.BLOCKED:
            job.document["state"] = int(State.SCHEDULED if job.document["due"] > job.now else State.WAITING)
        changed(job)


def unblock(job: Standing) -> None:
    """What it waited for has ended."""
    state = int(State.SCHEDULED if job.document["due"] > job.now else State.WAITING)
    job.document["state"] = -state if job.held else state
    changed(job)


def give_back(job: Standing) -> None:
    """It waits for the next attempt where it stood before this one, with its key's place where that has but one."""
    job.document.pop("lease", None)
    if job.document.get("placed") == PLACED:
        del job.document["placed"]
    job.document["state"] = int(State.WAITING)
    changed(job)


def crashed(job: Standing, error: JobError, most: int) -> None:
    """The attempt's process is gone. `most` crashes in a row are poison: fewer where it ran nothing else
    (limits.MAX_CRASHES) than where its lease ran out (MAX_LEASES_LOST), as another job may have killed it then."""
    asked = job.cancel_asked
    job.document["crashes"] += 1
    add_error(job, error)
    if asked:
        cancelled(job)
    elif job.document["crashes"] >= most:
        add_error(job, JobError("POISON", _POISON.format(job.document["crashes"])))
        end_as(job, State.FAILED)
    else:
        give_back(job)


def come_due(job: Standing) -> None:
    """Its time has come: it waits for a worker."""
    job.document["state"] = int(State.WAITING)
    changed(job)


def lease(job: Standing, length: timedelta, token: bytes) -> None:
    """An attempt begins; of a job that has come due just now, too."""
    if job.state is State.SCHEDULED:
        come_due(job)
        job.between = dict(job.document)
    document = job.document
    document.pop("progress", None)  # the last attempt's
    document.update(
        state=int(State.ACTIVE), attempt=document["attempt"] + 1, start=job.now, lease=job.now + length, token=token
    )
    changed(job)


def ask_cancel(job: Standing, wish: CancelJob) -> None:
    """Cancel it, or ask the attempt to stop."""
    if job.state is State.CANCELLED or job.cancel_asked:
        return
    grace = span(to_ms(wish.grace))
    job.document["cancel"] = {
        "reason": text(wish.reason),
        "by": text(wish.by),
        "grace": to_ms(wish.grace),
        "asked": job.now,
    }
    if job.state is State.ACTIVE:
        job.document["lease"] = min(job.document["lease"], job.now + grace)
        changed(job)
    else:
        cancelled(job)


def retry(job: Standing) -> None:
    """It runs once more as if it had not failed; errors and attempt stay."""
    document = job.document
    document.update(failures=0, crashes=0)
    said = document.get("conditions", {})
    if not document["attempt"] and begin_by(document) is not None:  # who retries it wants it to run
        said = {name: value for name, value in said.items() if not name.startswith("expire_")}
        document["conditions"] = said
        if not said:
            del document["conditions"]
    for name in ("end", "expire", "cancel", "progress"):
        document.pop(name, None)
    job.dropped.add("result")
    make_due(job, job.now)


def replace_in_place(job: Standing, draft: Draft) -> None:
    """A whole new spec and time; id, create_time and arrival stay."""
    old = job.document
    new = new_document(draft, old["id"], old["arrival"], job.now)
    new.update(
        create=old["create"],
        attempt=old["attempt"],
        revision=old["revision"],
        writes=old["writes"],
        crashes=0,
        failures=0,
    )
    if "start" in old:
        new["start"] = old["start"]
    if "key" in new and new["key"] == old.get("key"):
        new["after"] = old["after"]
        if job.state is State.BLOCKED:  # it goes on waiting
            new["state"] = int(State.BLOCKED)
    if job.held:
        new["state"] = -new["state"]
    _keep_following(old, new)
    set_alarm(new, job.now)
    job.document, job.anew = new, True
    changed(job)


def _keep_following(old: Document, new: Document) -> None:
    """Who waits for the end of a job waits for that of whatever comes in its place; what follows it follows that."""
    new.update({name: old[name] for name in ("watched", "untold") if name in old})
    if "untold" in old:
        new["errand"] = old["errand"]
    if (on_end := old.get("conditions", {}).get("on_end")) is not None:
        new["conditions"] = {**new.get("conditions", {}), "on_end": on_end}


def begin_anew(job: Standing, draft: Draft, arrival: int) -> None:
    """Another job under the id of an ended one. Who has seen the old one must not take this for it."""
    old = job.document
    new = new_document(draft, old["id"], arrival, job.now)
    new.update(revision=old["revision"] + 1, writes=old["writes"])
    job.document, job.anew = new, True
    job.touched, job.quiet = True, False


def place_over(job: Standing, new: Document) -> None:
    """Another job under its id, just as that stood elsewhere; its revision comes with it."""
    if new["arrival"] == job.document["arrival"]:
        new.update({name: job.document[name] for name in ("watched", "untold", "errand") if name in job.document})
    job.document, job.anew = new, True
    job.touched, job.quiet = True, False
