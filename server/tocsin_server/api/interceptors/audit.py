"""A line in the audit log for each change and each caller who was turned away. Never what was in a job."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Protocol

from google.protobuf.message import Message

from tocsin_server.api.errors import status_code
from tocsin_server.api.interceptors.call import Call, Work
from tocsin_server.domain.errors import AuditAway, NotAllowed, NotAuthenticated, TocsinError

_HEALTH = "/grpc.health."
_CHARACTERS = 200  # of a value; what a caller made up may be longer
_REQUEST_ID = "x-request-id"  # metadata by which callers find their call again
# Fields that name what was acted upon, and those of messages within that do.
_NAMES = frozenset({"queue", "job_id", "schedule_id", "id", "booking_id", "payment_id", "type"})
_NOTHING: Mapping[str, object] = {}
_ACTION = "action"  # the oneof of requests that can be for one of several
_WITHIN = frozenset({"job", "schedule", "reminder", "booking", "payment", "queue"})


class AuditWriter(Protocol):
    """Where lines go."""

    def write(self, record: dict[str, object]) -> None:
        """Write one."""

    def writable(self) -> bool:
        """Whether one can be written now."""


class Audit:
    """Tells of changes, with `include_reads` of all calls but health. With `required` a call whose line could not be
    written is refused."""

    def __init__(self, log: AuditWriter, server: str, *, include_reads: bool, required: bool) -> None:
        self._log, self._server = log, server
        self._include_reads, self._required = include_reads, required

    def around(self, work: Work) -> Work:
        """Raises AuditAway."""

        async def done(call: Call) -> bytes | None:
            told = not call.method.path.startswith(_HEALTH) and (self._include_reads or not call.method.reads)
            if told and self._required and not self._log.writable():
                raise AuditAway
            try:
                answer = await work(call)
            except TocsinError as error:
                if told or isinstance(error, NotAuthenticated | NotAllowed):
                    try:
                        if isinstance(error, NotAllowed) and call.asked is None and call.look is not None:
                            await call.look(call)
                    finally:
                        self._tell(call, status_code(error).name, error.reason, _lacking(error))
                raise
            except asyncio.CancelledError:
                if told:
                    self._tell(call, "CANCELLED")
                raise
            except Exception:
                if told:
                    self._tell(call, "INTERNAL")
                raise
            if told:
                self._tell(call, "OK")
            return answer

        return done

    def _tell(self, call: Call, outcome: str, reason: str = "", lacking: Mapping[str, object] = _NOTHING) -> None:
        record: dict[str, object] = {
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "server": self._server,
            "principal": call.caller,
            "peer": call.context.peer(),
            "method": call.method.path,
            "outcome": outcome,
        }
        if reason:
            record["reason"] = reason
        for message in (call.answered, call.asked):  # the request's own words last
            if message is not None:
                record.update(_named(message))
        record.update(lacking)
        for name, value in call.context.invocation_metadata() or ():
            if name == _REQUEST_ID:
                record["request_id"] = _cut(value)
        self._log.write(record)


def _lacking(error: TocsinError) -> Mapping[str, object]:
    """Which scope, or which queue out of reach, a refused call would have taken."""
    if not isinstance(error, NotAllowed):
        return _NOTHING
    found = {"scope": error.scope, "refused_queue": _cut(error.queue)}
    return {name: value for name, value in found.items() if value}


def _named(message: Message) -> Iterator[tuple[str, object]]:
    """What a request or an answer is about: names, what is to be done, and how many there are of what comes in
    numbers."""
    if _ACTION in message.DESCRIPTOR.oneofs_by_name and (action := message.WhichOneof(_ACTION)) is not None:
        yield _ACTION, action
        if target := getattr(getattr(message, action), "queue", ""):  # of a move, where to
            yield "target", _cut(target)
    for field, value in message.ListFields():
        name = field.name
        if name == "dry_run":
            yield name, value
        elif isinstance(value, str) and name in _NAMES:
            yield name, _cut(value)
        elif isinstance(value, Message):
            if name in _WITHIN:
                yield from _named(value)
        elif _is_repeated(value):
            yield f"{name}_count", len(value)
            if name == "job_ids":
                yield name, [_cut(one) for one in value[:10]]


def _is_repeated(value: Any) -> bool:
    return not isinstance(value, str | bytes | int | float | bool) and hasattr(value, "__len__")


def _cut(value: str | bytes) -> str:
    text = value if isinstance(value, str) else value.decode(errors="replace")
    return text if len(text) <= _CHARACTERS else text[:_CHARACTERS] + "…"
