"""The one table of services: what the server, health and reflection know of each. A new service is a line here."""

from __future__ import annotations

from typing import cast

from google.protobuf.descriptor import ServiceDescriptor
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2
from tocsin.v1 import (
    bulk_service_pb2,
    calendar_service_pb2,
    clock_service_pb2,
    externalscaler_pb2,
    job_service_pb2,
    queue_service_pb2,
    reminder_service_pb2,
    schedule_service_pb2,
    server_service_pb2,
    shared_limit_service_pb2,
    worker_service_pb2,
)

from tocsin_server.api.bulk_service import BulkService
from tocsin_server.api.calendar_service import CalendarService
from tocsin_server.api.clock_service import ClockService
from tocsin_server.api.health import Health
from tocsin_server.api.job_service import JobService
from tocsin_server.api.methods import Service
from tocsin_server.api.queue_service import QueueService
from tocsin_server.api.reflection import Reflection
from tocsin_server.api.reminder_service import ReminderService
from tocsin_server.api.scaler_service import ScalerService
from tocsin_server.api.schedule_service import ScheduleService
from tocsin_server.api.server_service import ServerService
from tocsin_server.api.shared_limit_service import SharedLimitService
from tocsin_server.api.worker_service import WorkerService

#: Tocsin's own, and KEDA's, which pass the whole gate.
SERVICES = (
    Service(
        job_service_pb2.DESCRIPTOR.services_by_name["JobService"],
        JobService,
        reads=frozenset({"GetJob", "WaitJob", "ExplainJob", "ListJobLogs", "ListJobs", "WatchJobs", "ExportJobs"}),
        waits=frozenset({"WaitJob"}),
        transfers=frozenset({"ExportJobs", "ImportJobs"}),
        opaque=True,
    ),
    Service(
        queue_service_pb2.DESCRIPTOR.services_by_name["QueueService"],
        QueueService,
        reads=frozenset({"GetQueue", "GetQueueHealth", "ListQueues"}),
    ),
    Service(
        worker_service_pb2.DESCRIPTOR.services_by_name["WorkerService"],
        WorkerService,
        reads=frozenset({"ListWorkers"}),
        working=frozenset({"LeaseJobs", "StreamJobs"}),
        opaque=True,
    ),
    Service(
        reminder_service_pb2.DESCRIPTOR.services_by_name["ReminderService"],
        ReminderService,
        reads=frozenset({"GetReminders"}),
    ),
    Service(
        schedule_service_pb2.DESCRIPTOR.services_by_name["ScheduleService"],
        ScheduleService,
        reads=frozenset({"GetSchedule", "ListSchedules", "PreviewSchedule"}),
        opaque=True,
    ),
    Service(
        bulk_service_pb2.DESCRIPTOR.services_by_name["BulkService"],
        BulkService,
        reads=frozenset(),
        opaque=True,
    ),
    Service(
        calendar_service_pb2.DESCRIPTOR.services_by_name["CalendarService"],
        CalendarService,
        reads=frozenset({"GetCalendar", "ListCalendars"}),
    ),
    Service(
        shared_limit_service_pb2.DESCRIPTOR.services_by_name["SharedLimitService"],
        SharedLimitService,
        reads=frozenset({"GetSharedLimit", "ListSharedLimits"}),
    ),
    Service(
        externalscaler_pb2.DESCRIPTOR.services_by_name["ExternalScaler"],
        ScalerService,
        reads=frozenset({"IsActive", "StreamIsActive", "GetMetricSpec", "GetMetrics"}),
    ),
    Service(
        clock_service_pb2.DESCRIPTOR.services_by_name["ClockService"],
        ClockService,
        reads=frozenset({"GetClock"}),
    ),
    Service(
        server_service_pb2.DESCRIPTOR.services_by_name["ServerService"],
        ServerService,
        reads=frozenset({"GetServerInfo"}),
    ),
)
SERVICE_NAMES = tuple(service.served_as for service in SERVICES)

# The stubs of these two name another class.
_HEALTH = cast(ServiceDescriptor, health_pb2.DESCRIPTOR.services_by_name["Health"])
_REFLECTION = cast(ServiceDescriptor, reflection_pb2.DESCRIPTOR.services_by_name["ServerReflection"])
HEALTH = Service(_HEALTH, Health, reads=frozenset({"Check", "List", "Watch"}))
#: What probes and tools call. It goes on while the server drains or has too many calls.
PROBES = (
    HEALTH,
    *(
        Service(_REFLECTION, Reflection, reads=frozenset({"ServerReflectionInfo"}), name=name)
        for name in ("grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection")
    ),
)
#: All names that reflection lists.
ALL_NAMES = tuple(service.served_as for service in (*SERVICES, *PROBES))
#: The paths of all methods.
PATHS = tuple(
    service.method(descriptor).path for service in (*SERVICES, *PROBES) for descriptor in service.descriptor.methods
)
