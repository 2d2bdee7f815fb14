"""What may be said of jobs that wait for others, and of what follows an end."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from google.protobuf import duration_pb2
from tocsin.v1 import conditions_pb2, dependencies_pb2, job_pb2
from tocsin.v1 import job_service_pb2 as pb
from tocsin_server.api.bounds import bounds
from tocsin_server.api.requests import schedule_jobs
from tocsin_server.domain.dependencies import DependsOn, ParentRequest, WhenParentFails
from tocsin_server.domain.errors import InvalidFields
from unit.server.api.api_requests import as_read, violations

Spec, Depends, Parent = job_pb2.JobSpec, dependencies_pb2.DependsOn, dependencies_pb2.DependsOn.Parent
KEPT = conditions_pb2.Collapse(key="k", mode=conditions_pb2.Collapse.KEEP)
ONE = Depends(parents=[Parent(job_id="p")], when_parent_fails=Depends.FAIL)


def wrong(spec: job_pb2.JobSpec, **words: Any) -> dict[str, str]:
    return violations(schedule_jobs.schedule_job, pb.ScheduleJobRequest(job=spec, **words))


def taken(spec: job_pb2.JobSpec) -> Any:
    return schedule_jobs.schedule_job(as_read(pb.ScheduleJobRequest(job=spec)))


def test_what_was_said_is_what_is_asked() -> None:
    depends = Depends(
        parents=[Parent(job_id="a"), Parent(queue="other", job_id="a"), Parent(batch_item=0), Parent(job_id="a")],
        when_parent_fails=Depends.CANCEL,
        block_timeout=duration_pb2.Duration(seconds=9),
    )
    asked = taken(Spec(queue="q", type="t", depends_on=depends))
    assert asked.conditions.depends == DependsOn(WhenParentFails.CANCEL, timedelta(seconds=9))
    assert asked.parents == (ParentRequest("", "a"), ParentRequest("other", "a"), ParentRequest("", "", 0))


def test_the_rule_must_be_chosen() -> None:
    said = wrong(Spec(type="t", depends_on=Depends(parents=[Parent(job_id="a")])))
    assert list(said) == ["job.depends_on.when_parent_fails"]
    assert "RUN, FAIL, CANCEL" in said["job.depends_on.when_parent_fails"]


def test_all_that_is_wrong_is_named() -> None:
    parents = [Parent(), Parent(job_id=""), Parent(queue="no/queue", job_id="a"), Parent(batch_item=-1)]
    depends = Depends(parents=parents, when_parent_fails=9, block_timeout=duration_pb2.Duration())
    assert set(wrong(Spec(type="t", depends_on=depends))) == {
        "job.depends_on.parents[0]",
        "job.depends_on.parents[1].job_id",
        "job.depends_on.parents[2].queue",
        "job.depends_on.parents[3].batch_item",
        "job.depends_on.when_parent_fails",
        "job.depends_on.block_timeout",
    }


@pytest.mark.parametrize("count", [0, 1_001])
def test_there_are_1_to_1000_parents(count: int) -> None:
    depends = Depends(parents=[Parent(job_id=f"{i}") for i in range(count)], when_parent_fails=Depends.RUN)
    assert list(wrong(Spec(type="t", depends_on=depends))) == ["job.depends_on.parents"]


@pytest.mark.parametrize("name", ["depends_on", "on_end"])
def test_what_may_become_another_job_waits_for_none_and_is_followed_by_none(name: str) -> None:
    word: dict[str, Any] = {name: ONE if name == "depends_on" else Spec(type="after")}
    assert list(wrong(Spec(type="t", collapse=KEPT, **word))) == [f"job.{name}"]
    assert list(wrong(Spec(type="t", **word), on_conflict=pb.ScheduleJobRequest.REPLACE)) == [f"job.{name}"]


def test_what_follows_is_checked_as_any_job_is() -> None:
    said = wrong(Spec(type="t", on_end=Spec(type="no space", depends_on=ONE, collapse=KEPT)))
    assert set(said) == {"job.on_end.type", "job.on_end.depends_on", "job.on_end.collapse"}


def test_three_follow_each_other_at_most() -> None:
    spec = Spec(type="t")
    for _ in range(3):
        spec = Spec(type="t", on_end=spec)
    assert taken(spec).on_end.on_end.on_end.on_end is None
    assert list(wrong(Spec(type="t", on_end=spec))) == ["job.on_end.on_end.on_end.on_end"]


def test_what_is_nested_without_end_is_refused_before_it_is_read() -> None:
    raw = b""
    for _ in range(20_000):
        size = bytearray()
        left = len(raw)
        while left >= 0x80:
            size.append(left & 0x7F | 0x80)
            left >>= 7
        size.append(left)
        raw = b"\xca\x01" + bytes(size) + raw  # JobSpec.on_end
    with pytest.raises(InvalidFields, match="nested too deep"):
        bounds(Spec.DESCRIPTOR).check(raw)


def test_what_follows_stands_in_its_jobs_queue_unless_it_says_another() -> None:
    asked = taken(Spec(queue="q", type="t", on_end=Spec(type="a", on_end=Spec(queue="r", type="b"))))
    assert [asked.on_end.queue, asked.on_end.on_end.queue] == ["q", "r"]
