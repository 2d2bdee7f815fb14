"""What the server serves by itself, and what it says will fail."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from support.spied_store import SpiedStore
from tocsin_server.domain.defaults import JobDefaults
from tocsin_server.handlers.builtin import Builtin, Housekeeping, builtin_handlers, outlets
from tocsin_server.handlers.server_loop import ServerLoop
from tocsin_server.operations.reminders.fence import ReminderFence
from tocsin_server.operations.reporting.retention import Retained
from tocsin_server.settings import MailSettings, SmsSettings

Build = Callable[[MailSettings, SmsSettings], Builtin]


@pytest.fixture
async def build(spied: SpiedStore, tmp_path: Path) -> Build:
    housekeeping = Housekeeping(tmp_path / "reports", Retained(JobDefaults(), 10, 10))

    def build(mail: MailSettings, sms: SmsSettings) -> Builtin:
        loop = ServerLoop(asyncio.get_running_loop())
        return builtin_handlers(outlets(mail, sms), spied, ReminderFence(spied), loop, housekeeping)

    return build


async def test_all_types_are_served(build: Build) -> None:
    assert sorted(build(MailSettings(), SmsSettings()).handlers) == [
        *("booking_reminder", "bulk_action", "data_cleanup", "email_notification"),
        *("payment_reminder", "report_generation", "sms_notification"),
    ]


async def test_ways_out_that_are_not_set_up_are_warned_of_with_the_types_that_need_them(build: Build) -> None:
    warnings = build(MailSettings(), SmsSettings()).warnings
    [sms] = [warning for warning in warnings if "set sms.url" in warning]
    assert sms.startswith("sms_notification, booking_reminder, payment_reminder: ")
    mail = " ".join(warning for warning in warnings if "set mail.transport" in warning)
    assert mail.startswith("email_notification, booking_reminder, payment_reminder: ")


async def test_with_both_ways_out_there_is_nothing_to_warn_of(build: Build, tmp_path: Path) -> None:
    mail = MailSettings(transport=f"file:{tmp_path}", sender="shop@example.com")
    assert build(mail, SmsSettings(url=f"file:{tmp_path}")).warnings == ()


async def test_templates_that_cannot_be_used_are_warned_of(build: Build, tmp_path: Path) -> None:
    (tmp_path / "booking_reminder.html").write_text("a\n{% if %}")
    sms = SmsSettings(url=f"file:{tmp_path}")
    [fault] = build(MailSettings(transport=f"file:{tmp_path}", sender="a@b.c", templates=tmp_path), sms).warnings
    assert fault.startswith("mail.templates: template booking_reminder.html, line 2")
    [gone] = build(
        MailSettings(transport=f"file:{tmp_path}", sender="a@b.c", templates=tmp_path / "gone"), sms
    ).warnings
    assert gone == "mail.templates: there is no such folder"
