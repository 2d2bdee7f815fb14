"""Rules on a payload report_generation."""

from __future__ import annotations

from tocsin.v1 import payloads_pb2

from tocsin_server.api.validation.payloads.recipients import check_addresses
from tocsin_server.api.validation.violations import Violations

_FORMATS: dict[int, str] = {number: name for name, number in payloads_pb2.ReportGeneration.Format.items() if number}


def check_report_generation(wrong: Violations, path: str, report: payloads_pb2.ReportGeneration) -> None:
    """What to report on."""
    wrong.queue(f"{path}.queue", report.queue)
    for name in ("start_time", "end_time"):
        if report.HasField(name):
            wrong.time(f"{path}.{name}", getattr(report, name))
    if report.HasField("start_time") and report.HasField("end_time"):
        start, end = ((time.seconds, time.nanos) for time in (report.start_time, report.end_time))
        if start >= end:
            wrong.add(f"{path}.end_time", "is not after start_time")
    check_addresses(wrong, f"{path}.email_to", report.email_to)
    if wrong.count(f"{path}.formats", report.formats, len(_FORMATS)):
        wrong.enums(f"{path}.formats", report.formats, _FORMATS)
