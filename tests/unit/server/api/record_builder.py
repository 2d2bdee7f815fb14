"""Records as an export has them, to be spoilt by tests."""

from __future__ import annotations

import json
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp
from tocsin.v1 import job_pb2, queue_pb2, schedule_pb2, transfer_pb2
from tocsin_server.operations.transfer.importing import Item

State = job_pb2.Job.State
T0 = Timestamp(seconds=1_700_000_000, nanos=123_000_000)
LATER = Timestamp(seconds=4_105_123_200)
A_SET: dict[str, Any] = {
    "anchor_ms": 4_102_444_800_000,
    "content": "00ff",
    "entries": [[3_600_000, 3, 0]],
    "revision": 3,
    "until_ms": 4_105_123_200_000,
    "cancelled": False,
    "earlier": [["booking:42:3600:g2", 1]],
}


def a_job(job_id: str = "a", **fields: Any) -> transfer_pb2.TransferRecord:
    """A WAITING job without a payload; `fields` are those of its Job."""
    record = transfer_pb2.TransferRecord()
    plain = {"queue": "q", "state": State.WAITING, "create_time": T0, "schedule_time": T0, "revision": 1}
    record.job.job.CopyFrom(job_pb2.Job(**{"job_id": job_id, **plain, **fields}))
    if "spec" not in fields:
        record.job.job.spec.type = "t"
    record.job.arrival = 7
    return record


def a_queue(**fields: Any) -> transfer_pb2.TransferRecord:
    """A queue with settings."""
    return transfer_pb2.TransferRecord(queue={"queue": queue_pb2.Queue(**{"queue": "q", **fields})})


def a_note(key: str = "booking/42", **changed: Any) -> transfer_pb2.TransferRecord:
    """A set of reminders; `changed` are fields of what is kept of it, None takes one away."""
    said = {name: value for name, value in {**A_SET, **changed}.items() if value is not None}
    note = transfer_pb2.NoteRecord(queue="q", key=key, value=json.dumps(said).encode(), until=LATER)
    return transfer_pb2.TransferRecord(note=note)


def a_schedule(schedule_id: str = "s", **fields: Any) -> transfer_pb2.TransferRecord:
    """A schedule that goes on later; `fields` are those of its Schedule."""
    record = transfer_pb2.TransferRecord()
    plain = {
        "queue": "q",
        "cron": schedule_pb2.Cron(lines=["0 9 * * *"], time_zone="Europe/Berlin"),
        "job": job_pb2.JobSpec(type="t"),
        "create_time": T0,
        "next_times": [LATER],
        "last_time": T0,
        "revision": 4,
        "counts": schedule_pb2.Schedule.Counts(fired=5, missed=6, overlap_skipped=7, backfilled=8),
    }
    record.schedule.schedule.CopyFrom(schedule_pb2.Schedule(**{"schedule_id": schedule_id, **plain, **fields}))
    return record


def refusal_of(item: Item) -> Exception | None:
    """Why a record was refused."""
    return item.record if isinstance(item.record, Exception) else None
