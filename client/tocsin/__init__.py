"""Tocsin: schedule jobs over gRPC.

from tocsin import Client

with Client("localhost:50051") as tocsin:
    job = tocsin.schedule("resize_image", {"path": "a.png"}, delay=3)
    print(tocsin.wait(job).state)
"""

from importlib import metadata as _metadata

from tocsin import _grpc_import as _grpc_import  # isort: split  # before anything else imports gRPC
from tocsin._access import Tls
from tocsin.async_client import AsyncClient
from tocsin.bulk_actions import BulkCount, BulkPreview, BulkProgress, BulkRefusal
from tocsin.calendars import KeptCalendar
from tocsin.client import Client
from tocsin.dependencies import DependsOn, JobRef, WaitedFor
from tocsin.enums import (
    Backoff,
    CollapseMode,
    Durability,
    LimitScope,
    Missed,
    OnConflict,
    OnExcluded,
    OnFull,
    Outcome,
    Over,
    Overlap,
    ParentEnd,
    ReminderKind,
    State,
    View,
    WhenParentFails,
    Why,
)
from tocsin.errors import (
    Aborted,
    AlreadyExists,
    DeadlineExceeded,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    ResourceExhausted,
    ServerError,
    TocsinError,
    Unauthenticated,
    Unavailable,
    UnusableClient,
    Violation,
    WaitTimeout,
    WrongType,
)
from tocsin.following import Explanation, LogLine
from tocsin.jobs import Cancel, CancelledMany, DeletedMany, Job, JobChange, JobError, Progress, RetriedMany
from tocsin.limits import Limit, Rate
from tocsin.queues import JobDefaults, PushTarget, Queue, QueueHealth, ServerInfo, StateCounts, WorkerInfo
from tocsin.reminders import Reminder, ReminderSet
from tocsin.requests import Collapse, JobRequest, Retention, RetryPolicy
from tocsin.schedules import Backfill, BackfilledTime, Calendar, Occurrence, Schedule
from tocsin.shared_limits import SharedLimit
from tocsin.transfer import Imported, RefusedRecord
from tocsin.v1.payloads_pb2 import (
    BookingReminder,
    BulkAction,
    BulkFilter,
    DataCleanup,
    EmailNotification,
    HttpRequest,
    PaymentReminder,
    RawPayload,
    ReportGeneration,
    SmsNotification,
)
from tocsin.v1.transfer_pb2 import TransferRecord
from tocsin.worker.context import JobContext
from tocsin.worker.errors import (
    DoNotRetry,
    InvalidPayload,
    JobCancelled,
    Release,
    RetryLater,
    UnfitPayload,
    UnfitResult,
)
from tocsin.worker.registry import Handlers
from tocsin.worker.worker import Worker
from tocsin.workers import HeldJob, WorkerEntry

try:
    __version__ = _metadata.version("tocsin")
except _metadata.PackageNotFoundError:  # the source tree on the path, not installed
    __version__ = "0"

__all__ = [
    "Aborted",
    "AlreadyExists",
    "AsyncClient",
    "Backfill",
    "BackfilledTime",
    "Backoff",
    "BookingReminder",
    "BulkAction",
    "BulkCount",
    "BulkFilter",
    "BulkPreview",
    "BulkProgress",
    "BulkRefusal",
    "Calendar",
    "Cancel",
    "CancelledMany",
    "Client",
    "Collapse",
    "CollapseMode",
    "DataCleanup",
    "DeadlineExceeded",
    "DeletedMany",
    "DependsOn",
    "DoNotRetry",
    "Durability",
    "EmailNotification",
    "Explanation",
    "FailedPrecondition",
    "Handlers",
    "HeldJob",
    "HttpRequest",
    "Imported",
    "InvalidArgument",
    "InvalidPayload",
    "Job",
    "JobCancelled",
    "JobChange",
    "JobContext",
    "JobDefaults",
    "JobError",
    "JobRef",
    "JobRequest",
    "KeptCalendar",
    "Limit",
    "LimitScope",
    "LogLine",
    "Missed",
    "NotFound",
    "Occurrence",
    "OnConflict",
    "OnExcluded",
    "OnFull",
    "Outcome",
    "Over",
    "Overlap",
    "ParentEnd",
    "PaymentReminder",
    "PermissionDenied",
    "Progress",
    "PushTarget",
    "Queue",
    "QueueHealth",
    "Rate",
    "RawPayload",
    "RefusedRecord",
    "Release",
    "Reminder",
    "ReminderKind",
    "ReminderSet",
    "ReportGeneration",
    "ResourceExhausted",
    "Retention",
    "RetriedMany",
    "RetryLater",
    "RetryPolicy",
    "Schedule",
    "ServerError",
    "ServerInfo",
    "SharedLimit",
    "SmsNotification",
    "State",
    "StateCounts",
    "Tls",
    "TocsinError",
    "TransferRecord",
    "Unauthenticated",
    "Unavailable",
    "UnfitPayload",
    "UnfitResult",
    "UnusableClient",
    "View",
    "Violation",
    "WaitTimeout",
    "WaitedFor",
    "WhenParentFails",
    "Why",
    "Worker",
    "WorkerEntry",
    "WorkerInfo",
    "WrongType",
    "__version__",
]
