"""What the relay saw is told as leases: which are out, what was said of them."""

from __future__ import annotations

import pytest
from google.protobuf.duration_pb2 import Duration
from tocsin.v1 import error_reason_pb2
from tocsin.v1 import worker_service_pb2 as pb
from tocsin_server.conformance.journal import Journal, NotConforming


def leased(token: bytes, job_id: str, attempt: int = 1, seconds: int = 5) -> pb.LeasedJob:
    job = pb.LeasedJob(token=token, lease=Duration(seconds=seconds))
    job.job.job_id, job.job.attempt = job_id, attempt
    return job


@pytest.fixture
async def journal() -> Journal:
    return Journal()


async def test_jobs_are_out_until_their_outcome_or_their_loss(journal: Journal) -> None:
    journal.leased([leased(b"1", "a"), leased(b"2", "b"), leased(b"3", "c")])
    journal.ended([pb.Outcome(token=b"1", completed={})])
    journal.told(b"2", lost=True)
    assert (journal.out(), journal.most_out) == (1, 3)
    first = journal.of("a")
    assert first is not None
    assert first.kind == "completed"


async def test_a_lease_that_has_run_out_is_out_no_more(journal: Journal) -> None:
    journal.leased([leased(b"1", "a", seconds=0)])
    assert journal.out() == 0


async def test_an_attempt_is_found_by_its_number(journal: Journal) -> None:
    journal.leased([leased(b"1", "a"), leased(b"2", "a", attempt=2)])
    journal.beats([pb.Heartbeat(token=b"2", progress={"fraction": 0.5})], lease=5)
    first, second = journal.of("a"), journal.of("a", 2)
    assert first is not None
    assert second is not None
    assert (len(first.heartbeats), second.progress) == (0, [0.5])


async def test_answers_tell_what_was_recorded(journal: Journal) -> None:
    journal.leased([leased(b"1", "a"), leased(b"2", "b")])
    journal.answered(b"1", pb.ReportOutcomesResponse.Result(), "")
    lost = pb.ReportOutcomesResponse.Result(error_reason=error_reason_pb2.LEASE_LOST)
    journal.answered(b"2", lost, "LEASE_LOST")
    recorded, refused = journal.of("a"), journal.of("b")
    assert recorded is not None
    assert refused is not None
    assert recorded.recorded is not None
    assert (refused.recorded, refused.refused) == (None, ["LEASE_LOST"])


async def test_a_check_begins_with_what_is_out_still(journal: Journal) -> None:
    journal.leased([leased(b"1", "a"), leased(b"2", "b")])
    journal.ended([pb.Outcome(token=b"1", completed={})])
    journal.begin()
    assert [lease.job_id for lease in journal.leases] == ["b"]
    assert journal.most_out == 0


async def test_what_does_not_come_is_said(journal: Journal) -> None:
    with pytest.raises(NotConforming, match=r"^within 0\.05 s nothing came$"):
        await journal.until(list, 0.05, "nothing came")
