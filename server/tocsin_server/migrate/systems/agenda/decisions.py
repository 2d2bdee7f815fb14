"""What becomes of each document: taken, left or refused. The order of the questions is that of their weight."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from tocsin_server.domain.job import Job
from tocsin_server.domain.schedules.standing import Schedule
from tocsin_server.migrate.systems.agenda import jobs
from tocsin_server.migrate.systems.agenda.documents import AgendaJob, decoded, read
from tocsin_server.migrate.systems.agenda.fields import BrokenDocument, quoted
from tocsin_server.migrate.systems.agenda.ids import id_of_raw, job_id_of, shown
from tocsin_server.migrate.systems.agenda.jobs import spec_of
from tocsin_server.migrate.systems.agenda.names import TypeNames, schedule_id
from tocsin_server.migrate.systems.agenda.payloads import CannotCarry
from tocsin_server.migrate.systems.agenda.rules import NO_NEXT_RUN, first_of, rule_of
from tocsin_server.migrate.systems.foreign import Choices, Foreign, Verdict
from tocsin_server.migrate.systems.recurring.rule import NoLike, NothingAfter, made

#: What a report calls a document that is no job, and one that is a rule.
BROKEN, REPEATING = "broken", "repeating"

LOCKED = "locked: stop the old workers and use --take-active"
UNDER_WAY = "a run that was under way there is not begun again here"
BY_ITSELF = "its next run is a job of its own, as it is none of its times: the schedule goes on after it"


class Decisions:
    """Decides for the documents of one collection, all as of one time."""

    def __init__(self, collection: str, queue: str, names: TypeNames, choices: Choices, now: datetime) -> None:
        self._collection = collection
        self._queue = queue
        self._names = names
        self._choices = choices
        self._now = now

    def found(self, raw: bytes) -> Sequence[Foreign]:
        """What becomes of the document of these bytes: one thing, or of one that repeats its schedule and a run that is
        none of that one's times. Whatever it holds, this does not raise."""
        source_id, state = id_of_raw(raw), BROKEN
        try:
            document = decoded(raw)
            if "_id" not in document:
                raise BrokenDocument("it has no _id")
            source_id = shown(document["_id"])
            job = read(document)
            if job.repeats is not None:
                return self._repeating(job, source_id, job.repeats)
            state, left = self._look(job)
            if left:
                return [Foreign(self._collection, source_id, state, Verdict.LEFT, left)]
            taken = self._taken(job, job_id_of(document["_id"]))
        except (BrokenDocument, CannotCarry) as trouble:
            return [Foreign(self._collection, source_id, state, Verdict.REFUSED, (str(trouble),))]
        return [self._foreign(job, source_id, state, taken)]

    def _foreign(self, job: AgendaJob, source_id: str, state: str, taken: Job | Schedule) -> Foreign:
        verdict = Verdict.CHANGED if job.why else Verdict.TAKEN
        found = Foreign(self._collection, source_id, state, verdict, tuple(job.why), made=job.made_at)
        return replace(found, schedule=taken) if isinstance(taken, Schedule) else replace(found, job=taken)

    def _repeating(self, job: AgendaJob, source_id: str, repeats: str) -> Sequence[Foreign]:
        """A schedule whose next time is nextRunAt. CannotCarry."""
        does = "is disabled, and repeats" if job.disabled else "repeats"

        def left(why: str) -> Foreign:
            text = f"{quoted(job.name)} {does} {repeats}: {why}"
            return Foreign(self._collection, source_id, REPEATING, Verdict.LEFT, (text,))

        first = first_of(job)
        if first is None:
            return [left(NO_NEXT_RUN)]
        if job.locked_at is not None and not self._choices.take_active:
            return [left(LOCKED)]
        job_id = job_id_of(job.document["_id"])
        try:
            becomes = made(
                rule_of(job, first),
                schedule_id(job.name, job_id, single=job.document.get("type") == "single"),
                spec_of(job, self._queue, self._type(job)),
                first=first,
                apart=False,
                now=self._now,
                zone=self._choices.time_zone,
                note=f"Agenda: {self._collection}, {source_id}",
            )
        except NothingAfter as reason:
            return [left(str(reason)), self._run(job, source_id, job_id)]
        except NoLike as reason:
            return [left(str(reason))]
        job.why += becomes.why
        if job.begun and job.locked_at is not None:
            job.why.append(UNDER_WAY)
        schedule = self._foreign(job, source_id, REPEATING, becomes.schedule)
        schedule = replace(schedule, calendars=becomes.calendars)
        if becomes.with_first:
            return [schedule]
        schedule = replace(schedule, verdict=Verdict.CHANGED, why=(*schedule.why, BY_ITSELF))
        return [schedule, self._run(job, source_id, job_id)]

    def _run(self, job: AgendaJob, source_id: str, job_id: str) -> Foreign:
        """The next run of one that repeats, as a job of its own."""
        once = read(job.document)
        return self._foreign(once, source_id, REPEATING, self._taken(once, job_id))

    def _look(self, job: AgendaJob) -> tuple[str, tuple[str, ...]]:
        """The state, in Agenda's words, and why it is left; no reason: it is taken."""
        ended = job.next_run_at is None and job.locked_at is None and not job.begun
        if job.disabled and not ended:
            return "disabled", ("disabled: enable it in Agenda, or remove it there",)
        if job.locked_at is not None:
            return "locked", self._unless_active(LOCKED)
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

    def _type(self, job: AgendaJob) -> str:
        type_ = self._names.type_of(job.name)
        if type_ != job.name:
            job.why.append(f"the name {quoted(job.name)} is the type {type_} here")
        return type_

    def _taken(self, job: AgendaJob, job_id: str) -> Job:
        type_ = self._type(job)
        if job_id != str(job.document["_id"]):
            job.why.append("its _id cannot be an id here: the job's id is made of a digest of it")
        due = job.next_run_at
        if due is None and (job.locked_at is not None or job.begun):
            due = job.last_run_at or job.locked_at  # it was due before that, Agenda has forgotten when
        if due is None:
            return jobs.ended(job, job_id, self._queue, type_, self._now)
        return jobs.pending(job, job_id, self._queue, type_, due, self._now)
