"""A loop that serves calls and is kept from it: the jobs that run keep their leases, and are run once."""

from __future__ import annotations

from collections.abc import Callable

import grpc
from support.eventually import until
from support.journal import Journal
from support.servers import Server
from support.stores import StoreBackend
from support.stubs import State, Stubs

LEASE = {"TOCSIN_LEASE__DURATION": "3s"}
MANY_ITEMS = b"\x0a\x00" * 8_000_000
MANY_STATES = b"\x12\x80\x80\x80\x04" + b"\x01" * (8 << 20)


def test_a_job_keeps_its_lease_while_the_loop_is_busy_for_longer(
    store: StoreBackend, serve: Callable[..., Server], journal: Journal
) -> None:
    serve(store.url, handlers="support.jobs.occupying", **LEASE, **journal.env)
    with Stubs(serve(store.url, "--no-dispatch", **LEASE).address) as other:  # which takes back what runs out
        other.schedule("work", "occupying", {"seconds": 8}, job_id="a")
        until(lambda: journal.lines("end"), within=40, what="the job's end")
        job = other.wait_for("work", "a", State.COMPLETED)
    assert (job.attempt, job.crashes) == (1, 0)
    assert journal.starts() == {"a": 1}


def test_a_job_keeps_its_lease_while_hostile_requests_come_in(
    store: StoreBackend, serve: Callable[..., Server], journal: Journal
) -> None:
    doomed = serve(store.url, handlers="support.jobs.occupying", **LEASE, **journal.env)
    with (
        Stubs(serve(store.url, "--no-dispatch", **LEASE).address) as other,
        grpc.insecure_channel(doomed.address, compression=grpc.Compression.Gzip) as channel,
    ):
        other.schedule("work", "steady", {"seconds": 8}, job_id="a")
        until(lambda: journal.lines("start"), within=20, what="the job's start")
        hostile = [("BatchScheduleJobs", MANY_ITEMS), ("ListJobs", MANY_STATES)]
        while not journal.lines("end"):
            calls = [
                channel.unary_unary(f"/tocsin.v1.JobService/{method}").future(raw, timeout=60)
                for method, raw in hostile * 5
            ]
            assert {call.code() for call in calls} <= {
                grpc.StatusCode.INVALID_ARGUMENT,
                grpc.StatusCode.RESOURCE_EXHAUSTED,
            }
        job = other.wait_for("work", "a", State.COMPLETED)
    assert (job.attempt, job.crashes) == (1, 0)
