"""Jobs of type report_generation: what a queue did, as files in a folder, and by mail where asked."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from google.protobuf.timestamp_pb2 import Timestamp
from tocsin.v1.payloads_pb2 import ReportGeneration
from tocsin.worker.context import JobContext
from tocsin.worker.errors import DoNotRetry
from tocsin.worker.registry import Handlers

from tocsin_server.domain.time_zones import UnknownZone, zone_of
from tocsin_server.domain.words import counted
from tocsin_server.handlers.reports.as_csv import as_csv
from tocsin_server.handlers.reports.as_json import as_json, main_figures
from tocsin_server.handlers.reports.as_page import Pages
from tocsin_server.handlers.reports.files import ReportFolder, stem
from tocsin_server.handlers.reports.letter import letter
from tocsin_server.handlers.server_loop import ServerLoop
from tocsin_server.messages.errors import Refused
from tocsin_server.messages.mail.mailer import Mailer
from tocsin_server.messages.stamp import Stamp
from tocsin_server.operations.reporting.report import DEFAULT_LENGTH, EmptyWindow, Report, Reporting

TYPE = "report_generation"

_READ = 0.9  # of the work is done once the jobs are counted


class ReportGenerationHandler:
    """Makes reports, one at a time in a process."""

    def __init__(self, reporting: Reporting, server: ServerLoop, folder: ReportFolder, mailer: Mailer) -> None:
        self._reporting = reporting
        self._server = server
        self._folder = folder
        self._mailer = mailer
        formats = ReportGeneration.Format
        self._make: Mapping[int, tuple[str, Callable[[Report], bytes]]] = {
            formats.HTML: ("html", Pages().as_page),
            formats.CSV: ("csv", as_csv),
            formats.JSON: ("json", as_json),
        }

    def register(self, handlers: Handlers) -> None:
        """Make these handlers serve report_generation."""
        handlers.on(TYPE, concurrency=1)(self.report)

    def warnings(self) -> tuple[str, ...]:
        """What will make jobs of this type fail; for the log at start and for queue health."""
        trouble = self._folder.trouble()
        return (f"{TYPE}: reports.folder: {trouble}",) if trouble else ()

    async def report(self, job: JobContext) -> dict[str, object]:
        """Make the job's report: read the queue, write the files, send the mail where one is asked for.

        Returns {"host", "folder", "files", "mail", ...the main figures}. Another attempt of the job replaces the files.
        DoNotRetry where it can never be made; OSError, StoreAway or a deferred mail are tried again.
        """
        payload = job.payload
        if not isinstance(payload, ReportGeneration):
            raise DoNotRetry(f"a job of type {TYPE} needs the payload {TYPE}")
        if payload.email_to and self._mailer.missing:
            raise DoNotRetry(self._mailer.missing)
        for number in payload.formats:
            if number not in self._make:
                raise DoNotRetry(f"formats: {number} is none of HTML, CSV and JSON")

        def tell(done: int, most: int) -> None:
            job.progress(_READ * (done / most if most else 1.0), f"counted {counted(done, 'job')}")

        queue = payload.queue or job.queue
        start = _time(payload.start_time) if payload.HasField("start_time") else None
        end = _time(payload.end_time) if payload.HasField("end_time") else None
        length = payload.window.ToTimedelta() if payload.HasField("window") else DEFAULT_LENGTH
        try:
            zone = zone_of(payload.time_zone)
            report = await self._server.run(
                lambda: self._reporting.report(queue, start, end, tell, length=length, zone=zone)
            )
        except UnknownZone:
            raise DoNotRetry("time_zone: this server knows no such zone") from None
        except EmptyWindow as error:
            raise DoNotRetry(f"the window is empty: {error}") from None
        name = stem(queue, job.queue, job.job_id, job.create_time)
        # In a thread: tens of thousands of lines are made, and a disk may be slow.
        contents = await asyncio.to_thread(self._contents, report, payload)
        files = await asyncio.to_thread(self._folder.write, name, contents)
        job.progress(0.95, "written")
        sent = await self._send(report, payload, job, name, contents) if payload.email_to else None
        return {
            "host": socket.gethostname(),
            "folder": str(self._folder.folder),
            "files": [file.name for file in files],
            "mail": sent,
            **main_figures(report),
        }

    def _contents(self, report: Report, payload: ReportGeneration) -> Mapping[str, bytes]:
        """The files by their endings."""
        return {
            ending: make(report)
            for number, (ending, make) in self._make.items()
            if not payload.formats or number in payload.formats
        }

    async def _send(
        self, report: Report, payload: ReportGeneration, job: JobContext, name: str, contents: Mapping[str, bytes]
    ) -> dict[str, object]:
        mark = Stamp.of(job, datetime.now(UTC))
        try:
            handed = await self._mailer.send(lambda: letter(report, payload.email_to, name, contents), mark)
        except Refused as error:
            raise DoNotRetry(str(error)) from error
        delivery = handed.delivery
        return {
            "message_id": handed.message_id,
            "accepted": list(delivery.accepted),
            "refused": [{"address": address, "answer": answer} for address, answer in delivery.refused.items()],
        }


def _time(time: Timestamp) -> datetime:
    return time.ToDatetime(tzinfo=UTC)
