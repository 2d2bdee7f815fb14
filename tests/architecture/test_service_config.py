"""The gRPC service config that is handed to all languages names methods that are there, and repeats none that may not
be."""

from __future__ import annotations

import json
from typing import Any

import pytest
from google.protobuf.descriptor import MethodDescriptor
from support.source_tree import PROTOS
from tocsin.v1 import (
    clock_service_pb2,
    job_service_pb2,
    queue_service_pb2,
    reminder_service_pb2,
    schedule_service_pb2,
    server_service_pb2,
    worker_service_pb2,
)

CONFIG: dict[str, Any] = json.loads((PROTOS / "service_config.json").read_text())
FILES = (
    job_service_pb2,
    queue_service_pb2,
    reminder_service_pb2,
    clock_service_pb2,
    schedule_service_pb2,
    server_service_pb2,
    worker_service_pb2,
)
METHODS: dict[tuple[str, str], MethodDescriptor] = {
    (service.full_name, method.name): method
    for file in FILES
    for service in file.DESCRIPTOR.services_by_name.values()
    for method in service.methods
}

#: What may be done twice. Not among them: whatever makes or moves jobs without an id to tell a repeat by.
REPEATABLE = {
    *("GetJob", "ListJobs", "ExplainJob", "ListJobLogs", "CancelJob"),
    *("GetQueue", "GetQueueHealth", "ListQueues", "PauseQueue", "ResumeQueue", "GetServerInfo"),
    *("ReportOutcomes", "ExtendLeases", "ListWorkers", "GetClock"),
    *("GetSchedule", "ListSchedules", "PauseSchedule", "ResumeSchedule", "PreviewSchedule"),
}


def names(entry: dict[str, Any]) -> list[tuple[str, str]]:
    return [(name["service"], name.get("method", "")) for name in entry["name"]]


def test_each_name_is_that_of_a_service_or_a_method() -> None:
    services = {service for service, _ in METHODS}
    found = [name for entry in CONFIG["methodConfig"] for name in names(entry)]
    assert [name for name in found if name[0] not in services or (name[1] and name not in METHODS)] == []
    assert len(found) == len(set(found)), "gRPC refuses a config that names a method twice"


def test_only_what_may_be_done_twice_is_repeated() -> None:
    repeated = {name for entry in CONFIG["methodConfig"] if "retryPolicy" in entry for name in names(entry)}
    assert {method for _, method in repeated} == REPEATABLE
    for entry in CONFIG["methodConfig"]:
        if "retryPolicy" in entry:
            assert entry["retryPolicy"]["retryableStatusCodes"] == ["UNAVAILABLE"]


@pytest.mark.parametrize("name", METHODS, ids=lambda name: name[1])
def test_streams_have_no_timeout_and_calls_have_one(name: tuple[str, str]) -> None:
    entries = {one: entry for entry in CONFIG["methodConfig"] for one in names(entry)}
    entry = entries.get(name) or entries.get((name[0], "")) or {}
    method = METHODS[name]
    streams = method.client_streaming or method.server_streaming
    assert ("timeout" in entry) != streams
