"""What becomes of each document: taken, left or refused. The order of the questions is that of their weight."""

from __future__ import annotations

from datetime import datetime

from tocsin_server.domain.job import Job
from tocsin_server.migrate.systems.agenda import jobs
from tocsin_server.migrate.systems.agenda.documents import AgendaJob, decoded, read
from tocsin_server.migrate.systems.agenda.fields import BrokenDocument, quoted
from tocsin_server.migrate.systems.agenda.ids import id_of_raw, job_id_of, shown
from tocsin_server.migrate.systems.agenda.names import TypeNames
from tocsin_server.migrate.systems.agenda.payloads import CannotCarry
from tocsin_server.migrate.systems.foreign import Choices, Foreign, Verdict

#: What a report calls a document that is no job.
BROKEN = "broken"


class Decisions:
    """Decides for the documents of one collection, all as of one time."""

    def __init__(self, collection: str, queue: str, names: TypeNames, choices: Choices, now: datetime) -> None:
        self._collection = collection
        self._queue = queue
        self._names = names
        self._choices = choices
        self._now = now

    def foreign(self, raw: bytes) -> Foreign:
        """What becomes of the document of these bytes. Whatever it holds, this does not raise."""
        source_id, state = id_of_raw(raw), BROKEN
        try:
            document = decoded(raw)
            if "_id" not in document:
                raise BrokenDocument("it has no _id")
            source_id = shown(document["_id"])
            job = read(document)
            state, left = self._look(job)
            if left:
                return Foreign(self._collection, source_id, state, Verdict.LEFT, left)
            taken = self._taken(job, job_id_of(document["_id"]))
        except (BrokenDocument, CannotCarry) as trouble:
            return Foreign(self._collection, source_id, state, Verdict.REFUSED, (str(trouble),))
        verdict = Verdict.CHANGED if job.why else Verdict.TAKEN
        return Foreign(self._collection, source_id, state, verdict, tuple(job.why), taken, made=job.made_at)

    def _look(self, job: AgendaJob) -> tuple[str, tuple[str, ...]]:
        """The state, in Agenda's words, and why it is left; no reason: it is taken."""
        if repeats := job.repeats:
            does = "is disabled, and repeats" if job.disabled else "repeats"
            return "repeating", (f"{quoted(job.name)} {does} {repeats}: repeating jobs come with schedules",)
        ended = job.next_run_at is None and job.locked_at is None and not job.begun
        if job.disabled and not ended:
            return "disabled", ("disabled: enable it in Agenda, or remove it there",)
        if job.locked_at is not None:
            return "locked", self._unless_active("locked: stop the old workers and use --take-active")
        if job.next_run_at is not None:
            return "retrying" if job.failed else "scheduled" if job.next_run_at > self._now else "queued", ()
        if job.begun:
            began = "a run began that did not end, and Agenda does not run it again: --take-active takes it"
            return "interrupted", self._unless_active(began)
        if job.failed:
            return "failed", ()
        if job.finished:
            return "completed", () if self._choices.take_completed else ("completed: --take-completed takes it",)
        return "without a time", ("nextRunAt is null, and no run began: Agenda never runs it",)

    def _unless_active(self, why: str) -> tuple[str, ...]:
        return () if self._choices.take_active else (why,)

    def _taken(self, job: AgendaJob, job_id: str) -> Job:
        type_ = self._names.type_of(job.name)
        if type_ != job.name:
            job.why.append(f"the name {quoted(job.name)} is the type {type_} here")
        if job_id != str(job.document["_id"]):
            job.why.append("its _id cannot be an id here: the job's id is made of a digest of it")
        due = job.next_run_at
        if due is None and (job.locked_at is not None or job.begun):
            due = job.last_run_at or job.locked_at  # it was due before that, Agenda has forgotten when
        if due is None:
            return jobs.ended(job, job_id, self._queue, type_, self._now)
        return jobs.pending(job, job_id, self._queue, type_, due, self._now)
