"""Whom a job waits for, as answers show it. The messages are the shadow ones of wire.py."""

from __future__ import annotations

from collections.abc import Sequence

from tocsin.v1 import dependencies_pb2

from tocsin_server.api.times import set_span
from tocsin_server.domain.dependencies import DependsOn, ParentJob


def fill_rule(target: dependencies_pb2.DependsOn, depends: DependsOn) -> None:
    """Write by which rule a job waits."""
    target.when_parent_fails = dependencies_pb2.DependsOn.WhenParentFails.ValueType(depends.when_parent_fails)
    if depends.block_timeout is not None:
        set_span(target.block_timeout, depends.block_timeout)


def fill_parents(target: dependencies_pb2.DependsOn, parents: Sequence[ParentJob]) -> None:
    """Write whom it waits for, or waited for, and how they ended."""
    for parent in parents:
        target.parents.add(
            queue=parent.queue,
            job_id=parent.job_id,
            end=dependencies_pb2.DependsOn.Parent.End.ValueType(parent.end),
        )
