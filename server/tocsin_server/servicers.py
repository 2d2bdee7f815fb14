"""What answers the calls, made over a store: one of each class in the table of services."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from tocsin_server.api.bulk_service import BulkService
from tocsin_server.api.calendar_service import CalendarService
from tocsin_server.api.clock_service import ClockService
from tocsin_server.api.grpc_server import Servicers
from tocsin_server.api.job_service import JobService
from tocsin_server.api.payload_rules import NO_RULES, PayloadRules
from tocsin_server.api.queue_service import QueueService
from tocsin_server.api.reminder_service import ReminderService
from tocsin_server.api.scaler_service import ScalerService
from tocsin_server.api.schedule_service import ScheduleService
from tocsin_server.api.server_service import ServerFacts, ServerService
from tocsin_server.api.shared_limit_service import SharedLimitService
from tocsin_server.api.worker_service import WorkerService
from tocsin_server.operations.advancing import Advancing
from tocsin_server.operations.bulk_actions.following import BulkActions
from tocsin_server.operations.calendars import KeptCalendars
from tocsin_server.operations.cancel_jobs import CancelJobs
from tocsin_server.operations.explaining import Explaining
from tocsin_server.operations.matching_jobs import MatchingJobs
from tocsin_server.operations.queues import Queues, QueueSettingsCache
from tocsin_server.operations.reminders.reminders import Reminders
from tocsin_server.operations.schedule_jobs import ScheduleJobs
from tocsin_server.operations.schedules import KeptSchedules
from tocsin_server.operations.shared_limits import KeptSharedLimits
from tocsin_server.operations.transfer.transfers import Transfers
from tocsin_server.operations.update_jobs import UpdateJobs
from tocsin_server.operations.watching import Watching
from tocsin_server.operations.working.working import Working
from tocsin_server.store.interface import JobStore


def build_servicers(
    store: JobStore,
    scheduling: ScheduleJobs,
    cancelling: CancelJobs,
    watching: Watching,
    settings: QueueSettingsCache,
    reminders: Reminders,
    working: Working,
    facts: ServerFacts,
    silent_since: Callable[[], datetime | None] = lambda: None,
    writes_refused: Callable[[], str] = lambda: "",
    rules: PayloadRules = NO_RULES,
) -> Servicers:
    """What answers calls, over a store. `silent_since`: since when it is known not to answer; None: it does.
    `writes_refused`: why it takes no writes; "": it does."""
    matching, queues = MatchingJobs(store), Queues(store, settings)
    explaining = Explaining(store, settings.get, working.announcing.workers, working.clock, silent_since)
    transfers = Transfers(store, queues)
    return Servicers(
        [
            JobService(
                store, scheduling, cancelling, watching, explaining, matching, UpdateJobs(store), transfers, rules
            ),
            QueueService(store, queues, matching, working.announcing, silent_since, writes_refused),
            WorkerService(working),
            ReminderService(reminders, rules),
            ScheduleService(store, KeptSchedules(store, scheduling), working.clock, rules),
            BulkService(store, BulkActions(store, scheduling, watching)),
            CalendarService(store, KeptCalendars(store)),
            SharedLimitService(KeptSharedLimits(store)),
            ScalerService(working.scaling),
            ClockService(Advancing(store, working.expecting)),
            ServerService(store, facts),
        ],
        drained=[watching, transfers, working],
    )
