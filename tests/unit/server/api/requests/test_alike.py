"""A job that is read by the form of another is read as it would be by itself."""

from __future__ import annotations

import random
from typing import Any

import pytest
from support.stubs import request
from tocsin.v1 import job_service_pb2
from tocsin_server.api import wire
from tocsin_server.api.reading import read
from tocsin_server.api.requests.alike import Alike
from tocsin_server.api.requests.schedule_jobs import schedule_job
from tocsin_server.domain.defaults import JobRequest

_Request = job_service_pb2.ScheduleJobRequest


def by_itself(raw: bytes) -> JobRequest:
    return schedule_job(read(_Request, wire.shadow(_Request), raw))


def a_request(**words: Any) -> job_service_pb2.ScheduleJobRequest:
    return request("q", words.pop("type", "t"), words.pop("data", {"a": 1.0}), **words)


def learned(like: job_service_pb2.ScheduleJobRequest) -> Alike:
    alike, raw = Alike(), like.SerializeToString()
    alike.learn(raw, by_itself(raw))
    return alike


@pytest.mark.parametrize(
    "words",
    [{}, {"delay": 3600}, {"delay": 1.5}, {"priority": -3}, {"tags": {"a": "b"}}],
    ids=str,
)
@pytest.mark.parametrize("size", [0, 1, 100, 127, 128, 16_000, 16_400])
def test_jobs_that_differ_in_their_payload_are_read(words: dict[str, Any], size: int) -> None:
    alike = learned(_with(a_request(), words))
    raw = _with(a_request(data={"text": "x" * size, "n": 2.5}), words).SerializeToString()
    assert alike.read(raw) == by_itself(raw) is not None


@pytest.mark.parametrize(
    "other",
    [
        {"type": "u"},
        {"delay": 5},
        {"priority": 1},
        {"tags": {"a": "b"}},
        {"job_id": "mine"},
        {"data": {"n": float("nan")}},
    ],
    ids=str,
)
def test_any_other_job_is_left_to_be_read_by_itself(other: dict[str, Any]) -> None:
    words = {name: other[name] for name in ("delay", "priority", "tags", "job_id") if name in other}
    kept = {name: other[name] for name in ("type", "data") if name in other}
    assert learned(a_request()).read(_with(a_request(**kept), words).SerializeToString()) is None


def test_jobs_with_ids_of_their_own_have_no_form() -> None:
    like = _with(a_request(), {"job_id": "mine"})
    assert learned(like).read(like.SerializeToString()) is None


def test_whatever_the_bytes_they_mean_what_they_mean_by_themselves() -> None:
    dice = random.Random(7)
    read_alike = 0
    for _ in range(4_000):
        like = _any(dice).SerializeToString()
        alike = Alike()
        alike.learn(like, by_itself(like))
        raw = _spoiled(dice, like if dice.random() < 0.5 else _any(dice).SerializeToString())
        found = alike.read(raw)
        if found is not None:
            assert found == by_itself(raw), (like, raw)
            read_alike += 1
    assert read_alike > 400


def test_where_jobs_are_not_alike_few_forms_are_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[bytes] = []
    monkeypatch.setattr("tocsin_server.api.requests.alike._form_of", lambda raw, asked: looked.append(raw))
    alike = Alike()
    for n in range(10_000):
        raw = a_request(type=f"t{n}").SerializeToString()
        assert alike.read(raw) is None
        alike.learn(raw, JobRequest("q", f"t{n}"))
    assert len(looked) < 30


def _with(asked: job_service_pb2.ScheduleJobRequest, words: dict[str, Any]) -> job_service_pb2.ScheduleJobRequest:
    asked.job.priority = words.get("priority", 0)
    asked.job.tags.update(words.get("tags", {}))
    asked.job_id = words.get("job_id", "")
    if "delay" in words:
        asked.delay.FromMilliseconds(int(words["delay"] * 1000))
    return asked


def _any(dice: random.Random) -> job_service_pb2.ScheduleJobRequest:
    data = {"a": "x" * dice.choice([0, 1, 90, 120, 200]), "n": dice.random()}
    asked = a_request(type=dice.choice(["t", "tt"]), data=data if dice.random() < 0.9 else {})
    words: dict[str, Any] = {}
    if dice.random() < 0.5:
        words["delay"] = dice.choice([1, 60, 1.5])
    if dice.random() < 0.2:
        words["priority"] = dice.choice([1, -1])
    if dice.random() < 0.2:
        words["tags"] = {"k": "v"}
    return _with(asked, words)


def _spoiled(dice: random.Random, raw: bytes) -> bytes:
    out = bytearray(raw)
    for _ in range(dice.choice([0, 0, 1, 2])):
        at = dice.randrange(len(out))
        match dice.randrange(3):
            case 0:
                out[at] = dice.randrange(256)
            case 1:
                del out[at : at + dice.choice([1, 2, 20])]
            case _:
                out[at:at] = bytes([dice.choice([0, 10, 0x52, 0x80, 0xFF])]) * dice.choice([1, 2])
        if not out:
            return raw
    return bytes(out)
