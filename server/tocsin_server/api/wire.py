"""The messages of JobService, WorkerService, ScheduleService and BulkService as the server reads and writes them: a
payload and a result are bytes in them.

A submessage and a `bytes` field of the same number look the same on the wire. So these classes, made when this module
is imported from the public descriptors of these services and what they import, have `bytes` where JobSpec's payload,
Job's result and an outcome's have messages. What a caller sent is then given back as it came: unsorted map keys and
unknown fields stay. The items of a batch and the records of an import are bytes too: each is read by itself, so that
one which cannot be read harms no other, and a thousand of them are not made at once. So are a batch's answers, leased
jobs, their outcomes, and the answers to these, for they are many.

The classes live in a descriptor pool of their own. To mypy they are the public classes, which they match in all else.
"""

from __future__ import annotations

from functools import cache
from typing import TypeVar, cast

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.descriptor import FieldDescriptor, FileDescriptor
from google.protobuf.message import Message
from tocsin.v1 import bulk_service_pb2, job_pb2, job_service_pb2, schedule_service_pb2, worker_service_pb2

_PUBLIC = "tocsin.v1"
_PRIVATE = "tocsin.wire.v1"
_FIELD = descriptor_pb2.FieldDescriptorProto
_SPEC = job_pb2.JobSpec.DESCRIPTOR
_MessageT = TypeVar("_MessageT", bound=Message)

#: Payload fields of JobSpec, by number.
PAYLOAD_FIELDS = {field.number: field.name for field in _SPEC.oneofs_by_name["payload"].fields}
_PAYLOAD_NUMBERS = {name: number for number, name in PAYLOAD_FIELDS.items()}


_BYTES_HERE = {
    f"{_PUBLIC}.Job.result",
    f"{_PUBLIC}.Outcome.Completed.result",
    f"{_PUBLIC}.LeaseJobsResponse.jobs",
    f"{_PUBLIC}.StreamJobsResponse.leased",
    f"{_PUBLIC}.StreamJobsResponse.acks",
    f"{_PUBLIC}.ReportOutcomesRequest.outcomes",
    f"{_PUBLIC}.ReportOutcomesResponse.results",
    f"{_PUBLIC}.StreamJobsRequest.outcomes",
    f"{_PUBLIC}.BatchScheduleJobsRequest.requests",
    f"{_PUBLIC}.BatchScheduleJobsResponse.results",
    f"{_PUBLIC}.ImportJobsRequest.records",
    *(f"{_PUBLIC}.JobSpec.{name}" for name in _PAYLOAD_NUMBERS),
}


def opaque(field: FieldDescriptor) -> bool:
    """Whether the field of a public message is bytes here."""
    return field.full_name in _BYTES_HERE


def _rewrite(message: descriptor_pb2.DescriptorProto, name: str, *, texts: bool) -> None:
    for field in message.field:
        if f"{name}.{field.name}" in _BYTES_HERE or (texts and field.type == _FIELD.TYPE_STRING):
            field.type = _FIELD.TYPE_BYTES
            field.ClearField("type_name")
        elif field.type_name.startswith(f".{_PUBLIC}."):
            field.type_name = f".{_PRIVATE}." + field.type_name.removeprefix(f".{_PUBLIC}.")
    for nested in message.nested_type:
        if texts:
            nested.options.ClearField("map_entry")  # a map's key must be a string; its entries are messages anyway
        _rewrite(nested, f"{name}.{nested.name}", texts=texts)


def _add(pool: descriptor_pool.DescriptorPool, file: FileDescriptor, seen: set[str], *, texts: bool) -> None:
    if file.name in seen:
        return
    seen.add(file.name)
    for dependency in file.dependencies:
        _add(pool, dependency, seen, texts=texts)
    proto = descriptor_pb2.FileDescriptorProto()
    file.CopyToProto(proto)
    if proto.package == _PUBLIC:
        proto.package = _PRIVATE
        proto.ClearField("service")
        for message in proto.message_type:
            _rewrite(message, f"{_PUBLIC}.{message.name}", texts=texts)
    pool.Add(proto)


def shadow_pool(*, texts: bool = False) -> descriptor_pool.DescriptorPool:
    """A new pool with the shadow messages; with `texts` strings are bytes too, so that broken text can be read."""
    pool, seen = descriptor_pool.DescriptorPool(), set[str]()
    for service in (job_service_pb2, worker_service_pb2, schedule_service_pb2, bulk_service_pb2):
        _add(pool, service.DESCRIPTOR, seen, texts=texts)
    return pool


def shadow_name(public: str) -> str:
    """Full name in a shadow pool of the message that is called `public` outside."""
    return _PRIVATE + public.removeprefix(_PUBLIC)


_POOL = shadow_pool()


def shadow(public: type[_MessageT]) -> type[_MessageT]:
    """The shadow class of a public message class of these services, or of what they import."""
    return cast("type[_MessageT]", _shadow(public.DESCRIPTOR.full_name))


@cache
def _shadow(public: str) -> type[Message]:
    return message_factory.GetMessageClass(_POOL.FindMessageTypeByName(shadow_name(public)))


def payload_of(spec: job_pb2.JobSpec) -> tuple[int, bytes] | None:
    """Field number and bytes of a shadow spec's payload; None where it has none."""
    name = spec.WhichOneof("payload")
    return None if name is None else (_PAYLOAD_NUMBERS[name], cast(bytes, getattr(spec, name)))


def set_payload(spec: job_pb2.JobSpec, kind: int, body: bytes) -> None:
    """Give a shadow spec the payload of field number `kind`."""
    setattr(spec, PAYLOAD_FIELDS[kind], body)


def set_result(job: job_pb2.Job, result: bytes) -> None:
    """Give a shadow job its result, a serialized tocsin.v1.Result."""
    setattr(job, "result", result)  # noqa: B010 - a plain assignment has the public type, not bytes
