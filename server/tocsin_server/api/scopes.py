"""What each method asks of who calls it: the one table. A method that is not in it is nobody's."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, auto
from typing import TypeAlias

from tocsin_server.security.principals import Scope


class NoScope(Enum):
    """What a method asks instead of a scope."""

    OPEN = auto()  # nothing: probes do not log in
    ANYBODY = auto()  # a principal, whatever its scopes


Rule: TypeAlias = Scope | NoScope

_RULES: Mapping[str, Mapping[Rule, str]] = {
    "tocsin.v1.JobService": {
        Scope.SCHEDULE: "ScheduleJob BatchScheduleJobs UpdateJob",
        Scope.READ: "GetJob WaitJob ExplainJob ListJobs WatchJobs",
        Scope.READ_PAYLOAD: "ListJobLogs",
        Scope.OPERATE: "CancelJob BatchCancelJobs RetryJob BatchRetryJobs RunJob HoldJob ReleaseJob DeleteJob "
        "BatchDeleteJobs",
        Scope.ADMIN: "ExportJobs ImportJobs",
    },
    "tocsin.v1.QueueService": {
        Scope.READ: "GetQueueHealth ListQueues GetQueue",
        Scope.OPERATE: "PauseQueue DrainQueue ResumeQueue",
        Scope.ADMIN: "UpdateQueue PurgeJobs DeleteQueue",
    },
    "tocsin.v1.WorkerService": {
        Scope.WORK: "LeaseJobs ReportOutcomes ExtendLeases StreamJobs",
        Scope.READ: "ListWorkers",
    },
    "tocsin.v1.ReminderService": {
        Scope.SEND: "ScheduleBookingReminders SchedulePaymentReminders",
        Scope.READ: "GetReminders",
        Scope.OPERATE: "CancelReminders",
    },
    "tocsin.v1.ScheduleService": {
        Scope.SCHEDULE: "CreateSchedule UpdateSchedule DeleteSchedule",
        Scope.READ: "GetSchedule ListSchedules PreviewSchedule",
        Scope.OPERATE: "PauseSchedule ResumeSchedule TriggerSchedule BackfillSchedule",
    },
    "tocsin.v1.CalendarService": {Scope.READ: "GetCalendar ListCalendars", Scope.ADMIN: "PutCalendar DeleteCalendar"},
    "tocsin.v1.SharedLimitService": {
        Scope.READ: "GetSharedLimit ListSharedLimits",
        Scope.ADMIN: "PutSharedLimit DeleteSharedLimit",
    },
    "tocsin.v1.BulkService": {Scope.OPERATE: "BulkAct"},
    "tocsin.v1.ClockService": {Scope.READ: "GetClock", Scope.ADMIN: "AdvanceClock"},
    "tocsin.v1.ServerService": {NoScope.ANYBODY: "GetServerInfo"},
    "externalscaler.ExternalScaler": {Scope.READ: "IsActive StreamIsActive GetMetricSpec GetMetrics"},
    "grpc.health.v1.Health": {NoScope.OPEN: "Check Watch", NoScope.ANYBODY: "List"},
    "grpc.reflection.v1.ServerReflection": {NoScope.ANYBODY: "ServerReflectionInfo"},
    "grpc.reflection.v1alpha.ServerReflection": {NoScope.ANYBODY: "ServerReflectionInfo"},
}

#: By a method's path: "/tocsin.v1.JobService/GetJob".
RULES: Mapping[str, Rule] = {
    f"/{service}/{method}": rule
    for service, rules in _RULES.items()
    for rule, methods in rules.items()
    for method in methods.split()
}

#: What a request takes instead that only asks what the call would do: it has `dry_run` set, which permissions.py reads.
DRY_RUNS: Mapping[str, Scope] = {"/tocsin.v1.BulkService/BulkAct": Scope.READ}
