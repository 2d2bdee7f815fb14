"""What an answer may still hold is counted so that it never passes its limit."""

from __future__ import annotations

from google.protobuf.wrappers_pb2 import BytesValue
from tocsin.v1 import queue_service_pb2 as pb
from tocsin_server.api.sized import AnswerRoom, too_large
from tocsin_server.domain import limits


def test_entries_are_taken_until_the_answer_is_full() -> None:
    for size in (0, 10, 1_000, 100_000):
        room, answer = AnswerRoom(), pb.ListQueuesResponse()
        entry = pb.ListQueuesResponse.Entry(queue={"pause_reason": "x" * size})
        while room.takes(entry):
            answer.queues.append(entry)
        assert not too_large(answer)
        if size:
            assert limits.RESPONSE_BYTES - answer.ByteSize() < 4_096 + len(answer.queues) * 6 + size + 50


def test_the_first_entry_is_always_taken() -> None:
    room = AnswerRoom()
    assert room.takes(BytesValue(value=bytes(limits.RESPONSE_BYTES)))
    assert not room.takes(BytesValue())


def test_an_answer_just_over_the_limit_is_too_large() -> None:
    at = BytesValue(value=bytes(limits.RESPONSE_BYTES - 5))
    assert at.ByteSize() == limits.RESPONSE_BYTES
    assert not too_large(at)
    assert too_large(BytesValue(value=bytes(limits.RESPONSE_BYTES - 4)))
