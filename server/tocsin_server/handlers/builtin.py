"""The job types that the server serves by itself."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tocsin.worker.registry import Handlers

from tocsin_server.handlers import (
    booking_reminder,
    bulk_action,
    data_cleanup,
    email_notification,
    http_request,
    payment_reminder,
    report_generation,
    sms_notification,
)
from tocsin_server.handlers.reminders.brand import Brand
from tocsin_server.handlers.reminders.sending import ReminderSender
from tocsin_server.handlers.reports.files import ReportFolder
from tocsin_server.handlers.sender import Memory, Sender
from tocsin_server.handlers.server_loop import ServerLoop
from tocsin_server.messages.mail.mailer import Mailer
from tocsin_server.messages.sms.texter import Texter
from tocsin_server.messages.templates.rendering import OURS, Templates
from tocsin_server.operations.bulk_actions.running import RunBulkActions
from tocsin_server.operations.cleanup import Cleanup
from tocsin_server.operations.reminders.fence import ReminderFence
from tocsin_server.operations.reporting.report import Reporting
from tocsin_server.operations.reporting.retention import Retained
from tocsin_server.settings import HttpSettings, MailSettings, SmsSettings
from tocsin_server.store.interface import JobStore
from tocsin_server.webhooks.guard import Guard
from tocsin_server.webhooks.sending import Caller


@dataclass(frozen=True, slots=True)
class Outlets:
    """The ways out of the server."""

    mailer: Mailer
    texter: Texter
    templates: Path | None  # the user's folder of templates
    brand: Brand


@dataclass(frozen=True, slots=True)
class Housekeeping:
    """What reports need to know: where they are written, and which ended jobs are kept."""

    report_folder: Path
    retained: Retained


@dataclass(frozen=True, slots=True)
class Builtin:
    """The handlers, and what will make their jobs fail as the server is set up (empty: nothing)."""

    handlers: Handlers
    warnings: tuple[str, ...]


def http_handler(http: HttpSettings, token_of: http_request.TokenOf | None = None) -> http_request.HttpRequestHandler:
    """Makes the requests of jobs, as the settings allow."""
    guard = Guard(http.allow, allow_private=http.allow_private)
    secrets = {name: [one.get_secret_value() for one in several] for name, several in http.secrets.items()}
    return http_request.HttpRequestHandler(Caller(guard), secrets, token_of)


def outlets(mail: MailSettings, sms: SmsSettings) -> Outlets:
    """The ways out that the settings name; nothing is connected yet.

    MessageSettingsError where a setting cannot be used.
    """
    return Outlets(Mailer(mail), Texter(sms), mail.templates.absolute() if mail.templates else None, Brand(mail))


def builtin_handlers(
    out: Outlets, store: JobStore, fence: ReminderFence, loop: ServerLoop, housekeeping: Housekeeping
) -> Builtin:
    """Handlers of all built-in types. `loop` is the one on which `store` and `fence` are called.

    They have no spec, as they are made of settings: no other process can load them by a name.
    """
    handlers = Handlers()
    templates = Templates(*([out.templates] if out.templates else ()), OURS)
    sender = Sender(Memory(store, loop))
    reminders = ReminderSender(out.mailer, out.texter, templates, sender, fence, loop, out.brand)
    email_notification.EmailNotificationHandler(out.mailer, out.templates).register(handlers)
    sms_notification.SmsNotificationHandler(out.texter, sender).register(handlers)
    booking_reminder.booking_reminder_handler(reminders).register(handlers)
    payment_reminder.payment_reminder_handler(reminders).register(handlers)
    data_cleanup.DataCleanupHandler(Cleanup(store), loop).register(handlers)
    bulk_action.BulkActionHandler(RunBulkActions(store), loop).register(handlers)
    reporting = Reporting(store, housekeeping.retained)
    reports = report_generation.ReportGenerationHandler(
        reporting, loop, ReportFolder(housekeeping.report_folder), out.mailer
    )
    reports.register(handlers)
    return Builtin(handlers, (*_missing(out), *_template_faults(out.templates, templates), *reports.warnings()))


def _missing(out: Outlets) -> list[str]:
    both = f"{booking_reminder.TYPE}, {payment_reminder.TYPE}"
    said = []
    for type_, way in ((email_notification.TYPE, out.mailer), (sms_notification.TYPE, out.texter)):
        if way.missing:
            said.append(f"{type_}, {both}: {way.missing}")
        elif way.missing_sender:
            said.append(f"{type_} without `from`, {both}: {way.missing_sender}")
    return said + ([out.texter.warning] if out.texter.warning else [])


def _template_faults(folder: Path | None, templates: Templates) -> list[str]:
    if folder is not None and not folder.is_dir():
        return ["mail.templates: there is no such folder"]
    return [f"mail.templates: {fault}" for fault in templates.faults()]
