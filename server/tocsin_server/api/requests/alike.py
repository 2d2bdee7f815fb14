"""Jobs of a batch that differ from the one before in their payload alone: read without a message being made of them.

Most batches are such, and making a message of each job and looking at its fields is most of what a batch costs before
the store. What is the same bytes in the same place means the same, so it is checked once; lengths and the payload are
looked at in each.
"""

from __future__ import annotations

from dataclasses import dataclass

from tocsin.v1 import job_pb2, job_service_pb2

from tocsin_server.api.aside import SMALL_BYTES
from tocsin_server.api.requests.payloads.checking import is_plain_data
from tocsin_server.api.wire_fields import LENGTH, Broken, fields_of
from tocsin_server.domain.defaults import JobRequest
from tocsin_server.domain.job import Payload

_JOB = job_service_pb2.ScheduleJobRequest.JOB_FIELD_NUMBER
_DATA = job_pb2.JobSpec.DATA_FIELD_NUMBER
_JOB_TAG, _DATA_TAG = _JOB << 3 | LENGTH, _DATA << 3 | LENGTH  # a byte each

#: Where jobs are not alike, only the first, second, fourth, eighth ... of them is looked at, up to so many.
_RAREST = 1_024


@dataclass(frozen=True, slots=True)
class _Form:
    """A job without its payload: the bytes around it, and what they say."""

    before: bytes  # in the job's field, up to the payload's tag, that included
    after: bytes  # in the job's field, behind the payload
    tail: bytes  # the same, and what follows the job's field
    request: JobRequest


class Alike:
    """Remembers the form of one job. From any thread."""

    def __init__(self) -> None:
        self._form: _Form | None = None
        self._missed, self._next = 0, 1

    def read(self, raw: bytes) -> JobRequest | None:
        """The job, where it has the form that is remembered and nothing is wrong with its payload."""
        form = self._form
        if form is None or len(raw) > SMALL_BYTES or not raw or raw[0] != _JOB_TAG:
            return None
        before, tail = form.before, form.tail
        try:
            size, start = _length(raw, 1)
            if not raw.startswith(before, start):
                return None
            length, at = _length(raw, start + len(before))
        except IndexError:
            return None
        end = at + length
        if end + len(tail) != len(raw) or end + len(form.after) != start + size or not raw.endswith(tail):
            return None
        body = raw[at:end]
        if not is_plain_data("data", body):
            return None
        self._missed, self._next = 0, 1
        like = form.request
        return JobRequest(
            like.queue,
            like.type,
            Payload(_DATA, body),
            like.priority,
            like.overrides,
            like.tags,
            None,
            like.when,
            like.on_conflict,
            like.conditions,
            like.parents,
        )

    def learn(self, raw: bytes, request: JobRequest) -> None:
        """Remember the form of this job, which was read as `request`."""
        self._missed += 1
        if self._missed >= self._next and len(raw) <= SMALL_BYTES:
            self._next = self._missed + min(self._missed, _RAREST)
            self._form = _form_of(raw, request)


def _form_of(raw: bytes, request: JobRequest) -> _Form | None:
    """None where it has none: an id of its own, something at its end, another kind of payload, or bytes that are not in
    their usual order."""
    payload = request.payload
    if payload is None or payload.kind != _DATA or request.job_id is not None or request.on_end or raw[0] != _JOB_TAG:
        return None
    try:
        jobs = [field for field in fields_of(raw, 0, len(raw)) if field[0] == _JOB]
        _, _, start, stop = jobs[0]
        data = [field for field in fields_of(raw, start, stop) if field[0] == _DATA]
    except Broken:
        return None
    _, _, at, end = data[0]
    tag = at - (1 if end - at < 0x80 else 2 if end - at < 0x4000 else 3) - 1
    if len(jobs) != 1 or len(data) != 1 or raw[tag] != _DATA_TAG or _length(raw, 1)[1] != start:
        return None
    return _Form(raw[start : tag + 1], raw[end:stop], raw[end:], request)


def _length(raw: bytes, at: int) -> tuple[int, int]:
    """A length of at most three bytes, and where it ends; of a longer one a number that no small job has."""
    size = raw[at]
    if size < 0x80:
        return size, at + 1
    second = raw[at + 1]
    if second < 0x80:
        return size & 0x7F | second << 7, at + 2
    return size & 0x7F | (second & 0x7F) << 7 | raw[at + 2] << 14, at + 3
