"""The job types that the server serves by itself."""

from __future__ import annotations

from dataclasses import dataclass

from tocsin.worker.registry import Handlers

from tocsin_server.handlers.email_notification import EmailNotificationHandler
from tocsin_server.handlers.mail.settings import MailSettings


@dataclass(frozen=True, slots=True)
class Builtin:
    """The handlers, and what will make their jobs fail as the server is set up (empty: nothing)."""

    handlers: Handlers
    warnings: tuple[str, ...]


def builtin_handlers(mail: MailSettings) -> Builtin:
    """Handlers of all built-in types. MailSettingsError where a setting cannot be used; nothing is connected yet.

    They have no spec, as they are made of settings: no other process can load them by a name.
    """
    handlers = Handlers()
    email = EmailNotificationHandler(mail)
    email.register(handlers)
    return Builtin(handlers, email.warnings())
