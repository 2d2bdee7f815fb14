"""What a principal may name in a request, and what it is shown of an answer.

Both are found by the descriptors: whatever field of a request says `queue`, also deep in a payload, is a queue that the
caller must reach, and whatever of an answer stands in another queue is left out. So a new field is held to it without a
line here; `ALL_WHERE_EMPTY` has those that mean all queues when nothing is said.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeVar

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import DecodeError, Message
from tocsin.v1 import job_pb2

from tocsin_server.api.foreign_jobs import hide_waited_for, without_foreign_parent
from tocsin_server.domain.errors import NotAllowed, TocsinError
from tocsin_server.security.principals import Principal, Scope

_T = TypeVar("_T")

_DEFAULT = "default"  # the queue that is meant where none is said
_PACKAGE = "tocsin.v1"
_SPEC = f"{_PACKAGE}.JobSpec"

#: Fields of requests that mean all queues where they are empty; others mean the queue of what is around them.
ALL_WHERE_EMPTY = (f"{_PACKAGE}.ExportJobsRequest.queues", f"{_PACKAGE}.ListWorkersRequest.queue")
#: A field that means all queues where it is set.
ALL_WHERE_SET = f"{_PACKAGE}.LeaseAsk.all_queues"
#: Requests that change something for all queues.
FOR_ALL = tuple(f"{_PACKAGE}.{name}Request" for name in ("PutCalendar", "DeleteCalendar", "AdvanceClock"))
#: Each item of it is looked at by itself, so that a refused one harms no other.
BY_ITEMS = f"{_PACKAGE}.BatchScheduleJobsRequest"

#: Records whose payload stands beside their job as bytes, for which each names the field of what has the queue.
_PAYLOAD_BESIDE: Mapping[str, str] = {f"{_PACKAGE}.JobRecord": "job", f"{_PACKAGE}.ScheduleRecord": "schedule"}

#: Requests that take a scope beside the one of their call: an export without payloads would be no export.
ALSO_TAKE: Mapping[str, Scope] = {f"{_PACKAGE}.ExportJobsRequest": Scope.READ_PAYLOAD}

#: Requests that take one scope where they say `dry_run`, and another where they do not. They are of calls in DRY_RUNS.
DRY_OR_NOT: Mapping[str, tuple[Scope, Scope]] = {f"{_PACKAGE}.BulkActRequest": (Scope.READ, Scope.OPERATE)}

#: Built-in types that take a scope of their own, beside the one of the call.
SCOPES_OF_TYPES: Mapping[str, Scope] = {
    "email_notification": Scope.SEND,
    "sms_notification": Scope.SEND,
    "booking_reminder": Scope.SEND,
    "payment_reminder": Scope.SEND,
    "data_cleanup": Scope.HOUSEKEEPING,
    "report_generation": Scope.HOUSEKEEPING,
    "bulk_action": Scope.OPERATE,
}

#: What only `read_payload` shows, beside payloads: results, and what handlers said.
_INNER: Mapping[str, tuple[str, ...]] = {
    f"{_PACKAGE}.Job": ("result",),
    f"{_PACKAGE}.JobError": ("message", "trace"),
    f"{_PACKAGE}.Progress": ("message",),
}
#: Texts that may name a parent, and so another queue.
_MAY_NAME_PARENTS: Mapping[str, str] = {f"{_PACKAGE}.JobError": "message", f"{_PACKAGE}.Cancel": "reason"}
#: A message that names jobs of other queues in a list of texts.
_EXPLANATION = f"{_PACKAGE}.Explanation"
#: A message that is nothing but the name of a job, which may stand in another queue.
_JOB_REF = f"{_PACKAGE}.JobRef"
#: A worker is shown what it is to run.
_WHOLE = f"{_PACKAGE}.LeasedJob"


@dataclass(frozen=True, slots=True)
class _Plan:
    """What of a message is looked at."""

    queues: tuple[FieldDescriptor, ...]  # that name queues
    parts: tuple[tuple[FieldDescriptor, _Plan | None], ...]  # messages in which there is more; None: this one's
    is_spec: bool
    beside: str  # a field of _PAYLOAD_BESIDE, or ""
    inner: tuple[str, ...]  # what only `read_payload` shows
    may_name: str = ""  # a field of _MAY_NAME_PARENTS, or ""
    explains: bool = False

    @property
    def says_something(self) -> bool:
        """Whether there is anything to look at."""
        looked_at = self.queues or self.parts or self.is_spec or self.beside or self.inner
        return bool(looked_at or self.may_name or self.explains)


@cache
def _plan(descriptor: Descriptor) -> _Plan:
    queues: list[FieldDescriptor] = []
    parts: list[tuple[FieldDescriptor, _Plan | None]] = []
    if descriptor.full_name == _WHOLE:
        return _Plan((), (), False, "", ())
    for field in descriptor.fields:
        if field.name in ("queue", "queues") and field.type == FieldDescriptor.TYPE_STRING:
            queues.append(field)
        elif field.full_name == ALL_WHERE_SET:
            queues.append(field)
        elif field.message_type is not None and field.message_type.file.package == _PACKAGE:
            if (
                field.message_type.full_name == descriptor.full_name
            ):  # a spec in a spec: the same plan, which is not made yet
                parts.append((field, None))
            elif (below := _plan(field.message_type)).says_something:
                parts.append((field, below))
    name = descriptor.full_name
    return _Plan(
        tuple(queues),
        tuple(parts),
        name == _SPEC,
        _PAYLOAD_BESIDE.get(name, ""),
        _INNER.get(name, ()),
        _MAY_NAME_PARENTS.get(name, ""),
        name == _EXPLANATION,
    )


# --- requests ---


def check_request(principal: Principal, public: type[Message], raw: bytes) -> None:
    """NotAllowed where the request names a queue that the principal does not reach, whether it is there or not, or
    schedules a type for which it lacks the scope. A batch to schedule is left to its items."""
    descriptor = _descriptor(public)
    also = ALSO_TAKE.get(descriptor.full_name)
    if also is not None and also not in principal.scopes:
        raise NotAllowed(f"{principal.name} may not call this without the scope {also}, too.", scope=str(also))
    if (scopes := DRY_OR_NOT.get(descriptor.full_name)) is not None:
        dry_run = public.FromString(raw).dry_run  # type: ignore[attr-defined]  # one of those that have it
        scope, how = (scopes[0], "as") if dry_run else (scopes[1], "but as")
        _check_scope(principal, scope, f"call this {how} a dry run")
    if descriptor.full_name in FOR_ALL:
        check_all_queues(principal)
    plan = _plan(descriptor)
    if principal.unrestricted or not plan.says_something or descriptor.full_name == BY_ITEMS:
        return
    _check(principal, public.FromString(raw), plan, _DEFAULT)


def check_all_queues(principal: Principal | None) -> None:
    """NotAllowed where the principal does not reach all queues, for what is of none of them and used by each."""
    if principal is not None and principal.queues is not None:
        raise NotAllowed(f"{principal.name} does not reach all queues, for all of which this would be changed.")


def check_queues(principal: Principal | None, queues: Iterable[str]) -> None:
    """NotAllowed where one of these is not the principal's; for queues that no field of a request is named for."""
    if principal is not None:
        for queue in queues:
            _reach(principal, queue)


def own_alone(
    principal: Principal | None, items: Sequence[_T | TocsinError], queue: Callable[[Any], str]
) -> Sequence[_T | TocsinError]:
    """The items of a batch, each that stands in a queue which is not the principal's replaced by NotAllowed. For queues
    that tokens of leases name."""
    if principal is None or principal.queues is None:
        return items

    def own(item: _T | TocsinError) -> _T | TocsinError:
        if not isinstance(item, TocsinError):
            try:
                _reach(principal, queue(item))
            except NotAllowed as refusal:
                return refusal.with_traceback(None)
        return item

    return [own(item) for item in items]


def _check_scope(principal: Principal, scope: Scope, what: str) -> None:
    if scope not in principal.scopes:
        raise NotAllowed(
            f"{principal.name} may not {what}, which takes the scope {scope}. Have it added to its scopes.",
            scope=str(scope),
        )


def check_type(principal: Principal, type_: str) -> None:
    """NotAllowed where jobs of that type take a scope which the principal lacks."""
    scope = SCOPES_OF_TYPES.get(type_)
    if scope is not None:
        _check_scope(principal, scope, f"schedule jobs of type {type_}")


def checked(principal: Principal | None, public: type[Message], then: Callable[[bytes], _T]) -> Callable[[bytes], _T]:
    """The same for each item of a batch, before it is read by `then`."""
    if principal is None or principal.unrestricted:
        return then

    def check(raw: bytes) -> _T:
        check_request(principal, public, raw)
        return then(raw)

    return check


def _check(principal: Principal, message: Any, plan: _Plan, around: str) -> None:
    for field in plan.queues:
        value = getattr(message, field.name)
        if field.full_name == ALL_WHERE_SET:
            if value:
                _reach_all(principal)
        elif not value and field.full_name in ALL_WHERE_EMPTY:
            _reach_all(principal)
        elif field.is_repeated:
            for queue in value:
                _reach(principal, queue)
        else:
            around = value or around
            _reach(principal, around)
    if plan.is_spec:
        check_type(principal, message.type or message.WhichOneof("payload") or "")
    if plan.beside:
        _check_beside(principal, message, getattr(message, plan.beside).queue or around)
    for field, below in plan.parts:
        if field.is_repeated:
            for one in getattr(message, field.name):
                _check(principal, one, below or plan, around)
        elif message.HasField(field.name):
            _check(principal, getattr(message, field.name), below or plan, around)


def _check_beside(principal: Principal, record: Any, around: str) -> None:
    """A payload that stands as bytes beside a job of the queue `around`. One that cannot be read is left to who reads
    the record, and refuses it."""
    spec: Any = job_pb2.JobSpec()
    field = spec.DESCRIPTOR.fields_by_number.get(record.payload_field)
    if field is None or field.containing_oneof is None or field.containing_oneof.name != "payload":
        return
    payload = getattr(spec, field.name)
    payload.SetInParent()
    try:
        payload.MergeFromString(record.payload)
    except DecodeError:
        return
    _check(principal, spec, _plan(spec.DESCRIPTOR), around)


def _reach(principal: Principal, queue: str) -> None:
    if not principal.reaches(queue):
        raise NotAllowed(
            f"{principal.name} does not reach the queue {queue[:100]!r}. Have it added to its queues, or name another.",
            queue=queue,
        )


def _reach_all(principal: Principal) -> None:
    if principal.queues is not None:
        raise NotAllowed(f"{principal.name} does not reach all queues. Name those that are meant.")


# --- answers ---


def shown(principal: Principal, public: type[Message], raw: bytes) -> bytes:
    """The answer as the principal may see it: without what stands in queues that it does not reach, and, without
    `read_payload`, without payloads, results and what handlers said."""
    hides_inner = Scope.READ_PAYLOAD not in principal.scopes
    plan = _plan(_descriptor(public))
    if not plan.says_something or (principal.queues is None and not hides_inner):
        return raw
    answer = public.FromString(raw)
    _hide(principal, answer, plan, hides_inner)
    return answer.SerializeToString()


def _hide(principal: Principal, message: Any, plan: _Plan, hides_inner: bool) -> None:
    if hides_inner:
        for name in plan.inner:
            message.ClearField(name)
        if plan.is_spec and (payload := message.WhichOneof("payload")):
            message.ClearField(payload)
    if plan.may_name:
        setattr(message, plan.may_name, without_foreign_parent(getattr(message, plan.may_name), principal.reaches))
    if plan.explains:
        hide_waited_for(message, principal.reaches)
    for field in plan.queues:
        if field.is_repeated:
            names = getattr(message, field.name)
            names[:] = [name for name in names if principal.reaches(name)]
    for field, below in plan.parts:
        if not field.is_repeated:
            if not message.HasField(field.name):
                continue
            part = getattr(message, field.name)
            if part.DESCRIPTOR.full_name == _JOB_REF and not principal.reaches(part.queue):
                message.ClearField(field.name)
            else:
                _hide(principal, part, below or plan, hides_inner)
            continue
        entries = getattr(message, field.name)
        for at in range(len(entries) - 1, -1, -1):
            if _foreign(principal, entries[at], below or plan):
                del entries[at]
            else:
                _hide(principal, entries[at], below or plan, hides_inner)


def _foreign(principal: Principal, entry: Any, plan: _Plan) -> bool:
    """Whether an entry of a list says that it stands in a queue which is not the principal's."""
    named = [getattr(entry, field.name) for field in plan.queues if not field.is_repeated]
    if any(name and not principal.reaches(name) for name in named):
        return True
    return any(
        _foreign(principal, getattr(entry, field.name), below or plan)
        for field, below in plan.parts
        if field.name == "queue" and not field.is_repeated and entry.HasField("queue")
    )


def _descriptor(public: type[Message]) -> Descriptor:
    descriptor: Any = public.DESCRIPTOR
    return descriptor  # type: ignore[no-any-return]  # the stubs know no type of it
