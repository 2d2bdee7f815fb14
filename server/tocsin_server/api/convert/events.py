"""Watched changes to proto."""

from __future__ import annotations

from tocsin.v1 import job_service_pb2

from tocsin_server.api.convert.job import fill
from tocsin_server.domain.events import Event
from tocsin_server.domain.job import View
from tocsin_server.operations.watching import Gap, Start


def fill_watched(target: job_service_pb2.WatchJobsResponse, watched: Event | Gap | Start) -> None:
    """Write one message of a watch."""
    if isinstance(watched, Gap):
        setattr(target.gap, "from", watched.start)  # a keyword of Python
        target.gap.to = watched.end
        target.cursor = watched.end
        return
    if isinstance(watched, Start):
        target.cursor = watched.cursor
        return
    fill(target.job, watched.job, View.BASIC)
    target.deleted = watched.deleted
    target.cursor = watched.cursor
