"""What is said of the jobs that a bulk action would touch."""

from __future__ import annotations

import pytest
from tocsin.bulk_actions import BulkPreview
from tocsin.cli import bulk
from tocsin.v1 import bulk_service_pb2 as pb
from tocsin.v1 import job_pb2


def shown(kinds: int, matched: int, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """What is printed of jobs of so many types, ten of each and the frequent ones first."""
    counts = [pb.BulkActResponse.Count(state=job_pb2.Job.FAILED, type=f"t{n:02}", jobs=10) for n in range(kinds)]
    preview = BulkPreview.read(pb.BulkActResponse(matched=matched, counts=counts), pb.BulkActRequest())
    bulk._show("retry", preview, None)
    return capsys.readouterr().out.splitlines()


def test_of_many_states_and_types_the_most_frequent_are_listed_and_the_rest_is_counted(
    capsys: pytest.CaptureFixture[str],
) -> None:
    lines = shown(23, 230, capsys)
    assert [line.split() for line in lines[2:22]] == [["FAILED", f"t{n:02}", "10"] for n in range(20)]
    assert lines[22] == "and 30 jobs more, of other states and types"


def test_where_all_are_listed_there_is_nothing_more(capsys: pytest.CaptureFixture[str]) -> None:
    assert not [line for line in shown(20, 200, capsys) if "more" in line]


def test_what_the_server_left_out_is_counted_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert "and 1 job more, of other states and types" in shown(1, 11, capsys)
