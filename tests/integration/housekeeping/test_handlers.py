"""The two handlers, called as the runtime calls them: on an event loop that is not the store's."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from contract.backdating import Backdate
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from support.spied_store import SpiedStore
from tocsin.v1.payloads_pb2 import DataCleanup, ReportGeneration
from tocsin.worker.context import JobContext
from tocsin.worker.errors import DoNotRetry
from tocsin.worker.payloads import encode_result
from tocsin.worker.source import LeasedJob
from tocsin_server.domain.defaults import SERVER_DEFAULTS
from tocsin_server.domain.states import State
from tocsin_server.handlers.data_cleanup import DataCleanupHandler
from tocsin_server.handlers.report_generation import ReportGenerationHandler
from tocsin_server.handlers.reports.files import ReportFolder
from tocsin_server.handlers.server_loop import ServerLoop
from tocsin_server.messages.mail.mailer import Mailer
from tocsin_server.operations.cleanup import Cleanup
from tocsin_server.operations.reporting.report import Reporting
from tocsin_server.operations.reporting.retention import Retained
from tocsin_server.settings import MailSettings
from tocsin_server.store.interface import JobStore

from integration.housekeeping.ending import again, ended

NOW = datetime(2026, 11, 24, 10, 17, tzinfo=UTC)
HOUR = timedelta(hours=1)
KINDS = {DataCleanup: 16, ReportGeneration: 17}  # fields of tocsin.v1.JobSpec


def a_job(payload: Message, *, kind: int | None = None, said: list[tuple[float, str]] | None = None) -> JobContext:
    type_ = "data_cleanup" if isinstance(payload, DataCleanup) else "report_generation"
    number = KINDS[type(payload)] if kind is None else kind
    leased = LeasedJob("q", "me", type_, 1, b"token", number, payload.SerializeToString(), NOW, NOW)
    return JobContext(leased, None if said is None else lambda fraction, words: said.append((fraction, words)))


def a_cleaner(store: JobStore, step: int = 200) -> DataCleanupHandler:
    return DataCleanupHandler(Cleanup(store, step=step), ServerLoop(asyncio.get_running_loop()))


def a_reporter(store: JobStore, folder: Path, mail: MailSettings | None = None) -> ReportGenerationHandler:
    reporting = Reporting(store, Retained(SERVER_DEFAULTS, 10_000, 100_000))
    server = ServerLoop(asyncio.get_running_loop())
    return ReportGenerationHandler(reporting, server, ReportFolder(folder), Mailer(mail or MailSettings()))


async def elsewhere(call: Callable[[], Coroutine[Any, Any, dict[str, object]]]) -> dict[str, object]:
    """Run a handler on an event loop of its own, in another thread."""
    result = await asyncio.to_thread(lambda: asyncio.run(call()))
    assert encode_result(result), "it can be kept as a result"
    return result


def cleanup(**words: Any) -> DataCleanup:
    return DataCleanup(**{"older_than": Duration(seconds=3600), **words})


async def test_a_cleanup_crosses_over_to_the_stores_loop_and_tells_how_far_it_is(
    store: JobStore, backdate: Backdate
) -> None:
    await ended(store, backdate, *[("a", State.COMPLETED, 2 * HOUR)] * 25, ("a", State.COMPLETED, timedelta(0)))
    said: list[tuple[float, str]] = []
    handler = a_cleaner(store, step=10)
    result = await elsewhere(lambda: handler.clean(a_job(cleanup(), said=said)))
    assert result["deleted"] == 25
    assert said == [
        (10 / 26, "deleted 10 of 26 jobs at most"),
        (20 / 26, "deleted 20 of 26 jobs at most"),
        (25 / 26, "deleted 25 of 26 jobs at most"),
    ]


async def test_a_cleanup_that_is_told_to_stop_stops_after_the_step_under_way(
    store: JobStore, backdate: Backdate
) -> None:
    jobs = await ended(store, backdate, *[("a", State.COMPLETED, 2 * HOUR)] * 50)
    spied = SpiedStore(store)
    spied.gates["delete"] = asyncio.Event()  # the first step's answer does not come
    handler = a_cleaner(spied.as_store, step=10)
    running = asyncio.create_task(handler.clean(a_job(cleanup())))
    await spied.until_asked("delete", 1)
    running.cancel()
    await asyncio.wait({running})
    spied.gates["delete"].set()
    assert running.cancelled()
    assert len(await again(store, jobs)) >= 40
    assert spied.arguments["delete"][1:] == []


@pytest.mark.parametrize(
    ("payload", "kind", "said"),
    [
        (cleanup(), 0, "needs the payload data_cleanup"),
        (DataCleanup(), None, "older_than is needed"),
        (cleanup(states=["FAILED", "ACTIVE"]), None, "'ACTIVE' is none of CANCELLED, COMPLETED, FAILED"),
    ],
)
async def test_a_cleanup_that_slipped_past_the_check_deletes_nothing(
    store: JobStore, backdate: Backdate, payload: DataCleanup, kind: int | None, said: str
) -> None:
    jobs = await ended(store, backdate, ("a", State.COMPLETED, 2 * HOUR))
    with pytest.raises(DoNotRetry, match=said):
        await a_cleaner(store).clean(a_job(payload, kind=kind))
    assert await again(store, jobs) == jobs


async def test_a_report_crosses_over_and_its_second_attempt_replaces_the_files(
    store: JobStore, backdate: Backdate, tmp_path: Path
) -> None:
    await ended(store, backdate, *[("a", State.COMPLETED, HOUR)] * 3, ("b", State.FAILED, HOUR))
    handler = a_reporter(store, tmp_path)
    first, second = [await elsewhere(lambda: handler.report(a_job(ReportGeneration()))) for _ in range(2)]
    assert (first["completed"], first["failed"], first["mail"]) == (3, 1, None)
    assert first["files"] == second["files"]
    assert sorted(os.listdir(tmp_path)) == sorted(second["files"])


@pytest.mark.parametrize(
    ("payload", "kind", "said"),
    [
        (ReportGeneration(), 0, "needs the payload report_generation"),
        (ReportGeneration(formats=[7]), None, "7 is none of HTML, CSV and JSON"),
        (ReportGeneration(email_to=["ada@example.com"]), None, r"mail\.transport"),
    ],
)
async def test_a_report_that_can_never_be_made_fails_at_once_and_writes_nothing(
    store: JobStore, tmp_path: Path, payload: ReportGeneration, kind: int | None, said: str
) -> None:
    with pytest.raises(DoNotRetry, match=said):
        await a_reporter(store, tmp_path / "reports").report(a_job(payload, kind=kind))
    assert not (tmp_path / "reports").exists()
