"""The shadow messages are the public ones, but for payloads, results and the items of batches, which are bytes."""

from __future__ import annotations

import pytest
from google.protobuf import descriptor_pb2, struct_pb2
from google.protobuf.descriptor import Descriptor
from hypothesis import given
from hypothesis import strategies as st
from tocsin.v1 import job_pb2, payloads_pb2
from tocsin.v1 import job_service_pb2 as pb
from tocsin_server.api import wire

PUBLIC = [*job_pb2.DESCRIPTOR.message_types_by_name.values(), *pb.DESCRIPTOR.message_types_by_name.values()]
OPAQUE = {
    *(("JobSpec", name) for name in wire.PAYLOAD_FIELDS.values()),
    ("Job", "result"),
    ("BatchScheduleJobsRequest", "requests"),
    ("BatchScheduleJobsResponse", "results"),
}


def described(descriptor: Descriptor) -> descriptor_pb2.DescriptorProto:
    proto = descriptor_pb2.DescriptorProto()
    descriptor.CopyToProto(proto)
    return proto


@pytest.mark.parametrize("public", PUBLIC, ids=lambda descriptor: descriptor.name)
def test_nothing_else_differs(public: Descriptor) -> None:
    shadow = wire.shadow_pool().FindMessageTypeByName(wire.shadow_name(public.full_name))
    expected, found = described(public), described(shadow)
    for field in expected.field:
        if (public.name, field.name) in OPAQUE:
            field.type = descriptor_pb2.FieldDescriptorProto.TYPE_BYTES
            field.ClearField("type_name")
    assert [(f.name, f.number, f.type, f.label) for f in found.field] == [
        (f.name, f.number, f.type, f.label) for f in expected.field
    ]
    assert [e.SerializeToString() for e in found.enum_type] == [e.SerializeToString() for e in expected.enum_type]
    assert [n.name for n in found.nested_type] == [n.name for n in expected.nested_type]


def test_each_payload_field_is_opaque() -> None:
    spec = wire.shadow(job_pb2.JobSpec)()
    for number, name in wire.PAYLOAD_FIELDS.items():
        wire.set_payload(spec, number, b"\xff")
        assert wire.payload_of(spec) == (number, b"\xff")
        assert spec.WhichOneof("payload") == name


def test_a_spec_without_payload_has_none() -> None:
    assert wire.payload_of(wire.shadow(job_pb2.JobSpec)(type="t")) is None
    empty = pb.ScheduleJobRequest(job=job_pb2.JobSpec(data=struct_pb2.Struct()))
    read = wire.shadow(pb.ScheduleJobRequest).FromString(empty.SerializeToString())
    assert wire.payload_of(read.job) == (10, b"")


@given(st.dictionaries(st.text(max_size=5), st.floats(allow_nan=False) | st.text(max_size=9), max_size=5), st.binary())
def test_a_payload_goes_through_byte_for_byte(data: dict[str, float | str], more: bytes) -> None:
    struct = struct_pb2.Struct()
    struct.update(data)
    unknown = b"\xfa\x3f" + bytes([len(more[:100])]) + more[:100]
    for kind, body in (
        (10, struct.SerializeToString()),
        (12, payloads_pb2.EmailNotification(to=["a@b"]).SerializeToString() + unknown),
    ):
        job = wire.shadow(pb.GetJobResponse)()
        wire.set_payload(job.job.spec, kind, body)
        again = wire.shadow(pb.GetJobResponse).FromString(job.SerializeToString())
        assert wire.payload_of(again.job.spec) == (kind, body)
        public = pb.GetJobResponse.FromString(job.SerializeToString())
        assert public.job.spec.WhichOneof("payload") == wire.PAYLOAD_FIELDS[kind]


def test_a_result_is_read_by_clients_as_it_was_written() -> None:
    result = job_pb2.Result(raw=payloads_pb2.RawPayload(content_type="image/png", body=b"\x89"))
    job = wire.shadow(job_pb2.Job)()
    wire.set_result(job, result.SerializeToString())
    assert job_pb2.Job.FromString(job.SerializeToString()).result == result
