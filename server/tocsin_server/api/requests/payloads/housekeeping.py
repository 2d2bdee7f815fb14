"""Rules on payloads data_cleanup and report_generation."""

from __future__ import annotations

from datetime import timedelta

from tocsin.v1 import payloads_pb2

from tocsin_server.api.requests.payloads.recipients import check_addresses, check_zone
from tocsin_server.api.requests.violations import Violations
from tocsin_server.domain import limits
from tocsin_server.domain.states import ENDED

_STATES = sorted(state.name for state in ENDED)
_FORMATS: dict[int, str] = {number: name for name, number in payloads_pb2.ReportGeneration.Format.items() if number}


def check_data_cleanup(wrong: Violations, path: str, cleanup: payloads_pb2.DataCleanup) -> None:
    """What to delete."""
    wrong.queue(f"{path}.queue", cleanup.queue)
    if cleanup.HasField("older_than"):
        wrong.span(f"{path}.older_than", cleanup.older_than, timedelta(seconds=1), limits.MAX_DELAY, "1 s to 100 years")
    else:
        wrong.add(f"{path}.older_than", "is needed")
    wrong.names(f"{path}.types", cleanup.types)
    if wrong.count(f"{path}.states", cleanup.states, len(_STATES)):
        for i, name in enumerate(cleanup.states):
            if name not in _STATES:
                wrong.add(f"{path}.states[{i}]", f"is none of {', '.join(_STATES)}: only jobs that ended are deleted")


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
    if report.HasField("window"):
        shortest, longest = limits.MIN_REPORT_WINDOW, limits.MAX_REPORT_WINDOW
        wrong.span(f"{path}.window", report.window, shortest, longest, "1 minute to 366 days")
        if report.HasField("start_time"):
            wrong.add(f"{path}.window", "stands beside start_time; give one of them")
    check_zone(wrong, f"{path}.time_zone", report.time_zone)
    check_addresses(wrong, f"{path}.email_to", report.email_to)
    if wrong.count(f"{path}.formats", report.formats, len(_FORMATS)):
        wrong.enums(f"{path}.formats", report.formats, _FORMATS)
