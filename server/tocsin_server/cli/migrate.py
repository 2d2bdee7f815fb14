"""tocsin migrate"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer
from tocsin.cli.parsing import span

from tocsin_server.api.requests.payloads.checking import check_payload
from tocsin_server.api.requests.violations import Violations
from tocsin_server.cli.migrate_report import ImportReport, MoveReport, ReportTrouble
from tocsin_server.cli.running import loaded_or_exit, refusal
from tocsin_server.domain.errors import TocsinError
from tocsin_server.domain.time_zones import UnknownZone, zone_of
from tocsin_server.migrate.move.moving import CannotMove, move_queue
from tocsin_server.migrate.move.reading import shared_ids
from tocsin_server.migrate.stores import Side, SideTrouble, is_same, opened, settings_of, sided, told_of
from tocsin_server.migrate.systems.bring_in import bring_in, pause
from tocsin_server.migrate.systems.foreign import Choices, SourceAway, Verdict
from tocsin_server.migrate.systems.ledger import AnotherImport
from tocsin_server.migrate.systems.marks import NoRoom
from tocsin_server.migrate.systems.naming import CannotName, Naming, naming_of
from tocsin_server.migrate.systems.open import PAGE_OF_STORE, PAGES, SYSTEMS, open_system
from tocsin_server.operations import schedule_moves
from tocsin_server.settings import Settings, SettingsError, secrets_of
from tocsin_server.store.open import StoreUnfit, examined
from tocsin_server.telemetry.logs import configure_logs
from tocsin_server.telemetry.redaction import redact_url

_UNFINISHED = 1  # exit code: something was refused, still runs, or differs
_LEFT = 3  # exit code: all is done, and some of it stays where it was, on purpose
_PATIENCE = timedelta(minutes=1)

#: Options that mean something for some of what can be moved only, by their parameters.
_OF_STORES = {
    "verify": "--verify",
    "wait": "--wait",
    "source_namespace": "--from-namespace",
    "source_collection": "--from-collection",
    "source_keyring": "--from-keyring",
}
_OF_SYSTEMS = {
    "address": "--source",
    "take_active": "--take-active",
    "take_completed": "--take-completed",
    "report": "--report",
    "type_map": "--type-map",
    "time_zone": "--time-zone",
}
_OF_BULL = {"prefix": "--prefix", "queue_map": "--queue-map"}
_OF_AGENDA = {"collection": "--source-collection"}


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("migrate")(migrate)


def migrate(
    context: typer.Context,
    source: Annotated[
        str,
        typer.Option(
            "--from",
            metavar="URL|SYSTEM",
            help="A Tocsin store: redis://, rediss://, unix://, redis+sentinel://, redis+cluster://, mongodb:// or "
            f"embedded:FOLDER. Or another system: {', '.join(SYSTEMS)}, whose address is --source.",
        ),
    ],
    target: Annotated[
        str | None,
        typer.Option("--to", metavar="URL", help="A Tocsin store. Left out: the one that `tocsin serve` would use."),
    ] = None,
    address: Annotated[
        str | None, typer.Option("--source", metavar="URL", help="The Redis or MongoDB of the other system.")
    ] = None,
    queues: Annotated[
        list[str] | None,
        typer.Option("--queue", metavar="NAME", help="Only this one; may be repeated. Agenda: the queue to fill."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", metavar="", help="Say what would be done, and do nothing.")
    ] = False,
    verify: Annotated[
        bool,
        typer.Option(
            "--verify", metavar="", help="Compare all jobs, byte for byte, before the target goes on with them."
        ),
    ] = False,
    wait: Annotated[
        timedelta | None,
        typer.Option(
            "--wait", metavar="SPAN", parser=span, help="For jobs that run in the source, at most. Default: 1m."
        ),
    ] = None,
    take_active: Annotated[
        bool,
        typer.Option("--take-active", metavar="", help="Also what another system's workers hold. Stop them first."),
    ] = False,
    take_completed: Annotated[
        bool, typer.Option("--take-completed", metavar="", help="Also what another system has completed.")
    ] = False,
    queue_map: Annotated[
        list[str] | None,
        typer.Option(
            "--queue-map",
            metavar="OLD=NEW",
            help="Of Bull or BullMQ: bring queue OLD into queue NEW. May be repeated.",
        ),
    ] = None,
    type_map: Annotated[
        list[str] | None,
        typer.Option(
            "--type-map",
            metavar="PATTERN=TYPE",
            help="Of another system: types that match ('send_mail_*') become TYPE. May be repeated.",
        ),
    ] = None,
    time_zone: Annotated[
        str,
        typer.Option(
            "--time-zone",
            metavar="ZONE",
            help="Of another system: that of the machine its workers ran on, for crons that name none. Default: UTC.",
        ),
    ] = "",
    report: Annotated[
        Path | None, typer.Option("--report", metavar="FILE", help="Write a JSON line for each job of another system.")
    ] = None,
    source_namespace: Annotated[
        str | None, typer.Option("--from-namespace", metavar="NAME", help="With what the source's keys in Redis begin.")
    ] = None,
    source_collection: Annotated[
        str | None, typer.Option("--from-collection", metavar="NAME", help="The source's collection in MongoDB.")
    ] = None,
    target_namespace: Annotated[
        str | None, typer.Option("--to-namespace", metavar="NAME", help="With what the target's keys in Redis begin.")
    ] = None,
    target_collection: Annotated[
        str | None, typer.Option("--to-collection", metavar="NAME", help="The target's collection in MongoDB.")
    ] = None,
    source_keyring: Annotated[
        Path | None,
        typer.Option("--from-keyring", metavar="FILE", help="The source's key ring, where it is encrypted."),
    ] = None,
    target_keyring: Annotated[
        Path | None,
        typer.Option("--to-keyring", metavar="FILE", help="Encrypt with this key ring in the target of --to."),
    ] = None,
    prefix: Annotated[
        str, typer.Option("--prefix", metavar="NAME", help="Bull's and BullMQ's, of their keys.")
    ] = "bull",
    collection: Annotated[
        str, typer.Option("--source-collection", metavar="NAME", help="Of Agenda's jobs.")
    ] = "agendaJobs",
) -> None:
    """Move jobs from another store of Tocsin, or bring them over from Bull, BullMQ or Agenda.

    Between stores, queue by queue: each is paused on both sides, copied, and goes on in the target; the source keeps
    its jobs, paused. Another system's data is only read. Either can be stopped at any moment and run again. Exit code
    0: all is done; 1: something was refused, still runs or differs; 2: wrong settings, or a store that cannot be used;
    3: of another system something was left there, and the rest is done. A dry run exits as what it says would.
    """
    wanted = tuple(queues or ())
    try:
        if misplaced := [*_misplaced(context, source, wanted), *_unknown(time_zone)]:
            raise refusal("migrate", misplaced)
        to = _target(target, target_namespace, target_collection, target_keyring)
        if source in SYSTEMS:
            if address is None:
                raise refusal("migrate", [f"--from {source} needs --source, the address of its jobs"])
            naming = naming_of(queue_map or (), type_map or ())
            choices = Choices(wanted, take_active=take_active, take_completed=take_completed, time_zone=time_zone)
            configure_logs("error", "console", secrets=secrets_of(to))
            code = asyncio.run(
                _bring_in(
                    source, address, choices, prefix, collection, to, naming, ImportReport(report), dry_run=dry_run
                )
            )
        else:
            origin = settings_of(
                "--from", source, namespace=source_namespace, collection=source_collection, keyring=source_keyring
            )
            configure_logs("error", "console", secrets=[*secrets_of(origin), *secrets_of(to)])
            done = asyncio.run(
                _move(origin, to, wanted, _PATIENCE if wait is None else wait, verify=verify, dry_run=dry_run)
            )
            code = 0 if done else _UNFINISHED
    except SettingsError as error:
        raise refusal("migrate", error.lines) from None
    except SourceAway as error:
        # The rights that our own store needs are another page's.
        line = str(error).replace(PAGE_OF_STORE, PAGES[source])
        raise refusal("migrate", [redact_url(f"--source: {line}")]) from None
    except (StoreUnfit, SideTrouble, TocsinError) as error:
        raise refusal("migrate", [redact_url(str(error))]) from None
    except (CannotName, NoRoom, AnotherImport) as error:
        raise refusal("migrate", [str(error)]) from None
    except ReportTrouble as error:
        raise refusal("migrate", [f"--report: {error}"]) from None
    if code:
        raise typer.Exit(code)


def _misplaced(context: typer.Context, source: str, queues: Sequence[str]) -> list[str]:
    """A line for each option that means nothing for what is moved here."""
    sources = {name: context.get_parameter_source(name) for name in context.params}
    given = {name for name, where in sources.items() if where is not None and where.name == "COMMANDLINE"}
    of_systems = {"bull": _OF_BULL, "bullmq": _OF_BULL, "agenda": _OF_AGENDA}
    meant = {**_OF_SYSTEMS, **of_systems[source]} if source in SYSTEMS else _OF_STORES
    lines = [
        f"{option}: means nothing with --from {source if source in SYSTEMS else 'a store of Tocsin'}"
        for name, option in {**_OF_STORES, **_OF_SYSTEMS, **_OF_BULL, **_OF_AGENDA}.items()
        if name in given and name not in meant
    ]
    if source == "agenda" and len(queues) > 1:
        lines.append("--queue: Agenda has no queues, so all its jobs go to one: name one")
    return lines


def _unknown(time_zone: str) -> list[str]:
    try:
        zone_of(time_zone)
    except UnknownZone:
        return [f"--time-zone: {time_zone!r} is no IANA time zone such as Europe/Berlin"]
    return []


def may_be_scheduled(kind: int, body: bytes) -> bool:
    """Whether a client could schedule a job with this payload."""
    wrong = Violations()
    check_payload(wrong, "job", kind, body)
    return not wrong


def _target(address: str | None, namespace: str | None, collection: str | None, keyring: Path | None) -> Settings:
    if address is None:
        return loaded_or_exit("migrate", [], os.environ, None).settings
    return settings_of("--to", address, namespace=namespace, collection=collection, keyring=keyring)


@asynccontextmanager
async def _opened(option: str, settings: Settings) -> AsyncIterator[Side]:
    """A store; where it cannot be opened the line says which of the two it is."""
    async with AsyncExitStack() as stack:
        with _refused(option):
            place = await stack.enter_async_context(opened(settings))
        yield replace(place, store=sided(place.store, option))


@contextmanager
def _refused(option: str) -> Iterator[None]:
    """A store that cannot be opened is one line, which says which of the two it is."""
    try:
        with told_of(option):
            yield
    except SideTrouble as error:
        raise refusal("migrate", [redact_url(str(error))]) from None
    except (StoreUnfit, TocsinError) as error:
        raise refusal("migrate", [redact_url(f"{option}: {error}")]) from None


async def _move(
    origin: Settings, to: Settings, wanted: tuple[str, ...], wait: timedelta, *, verify: bool, dry_run: bool
) -> bool:
    report = MoveReport()
    done = True
    if origin.store.kind == "embedded" and not origin.data.is_dir():
        raise refusal("migrate", [f"--from: there is no folder {origin.data}"])
    async with _opened("--from", origin) as source, _opened("--to", to) as target:
        if source.address == target.address or (not dry_run and await is_same(source, target)):
            raise refusal("migrate", [f"--from and --to are the same: {source.address}"])
        there = await source.store.queues()
        if not there:
            where = "is it another database, --from-namespace or --from-collection?"
            raise refusal("migrate", [f"--from: {source.address} has no queue: {where}"])
        if unknown := [queue for queue in wanted if queue not in there]:
            raise refusal("migrate", [f"--queue {queue}: {source.address} has no such queue" for queue in unknown])
        queues = wanted or tuple(there)
        for queue in queues:
            if dry_run:
                here, there_now = await source.store.figures(queue), await target.store.figures(queue)
                shared = await shared_ids(source.store, target.store, queue)
                found = schedule_moves.clashes(source.store, target.store, queue, target.address)
                report.would_move(queue, here, there_now, shared, [line async for line in found])
                continue
            try:
                with report.progress(queue) as tell:
                    moved = await move_queue(source, target, queue, patience=wait, check=verify, tell=tell)
            except CannotMove as error:
                report.cannot(str(error))
                done = False
                continue
            except SideTrouble:
                report.cut(queue, len(queues))
                raise
            report.moved(moved)
            done = done and moved.done and (moved.verified is None or moved.verified.ok)
        report.end(len(queues), source.address, target.address, dry_run=dry_run)
    return done


async def _bring_in(
    system: str,
    address: str,
    choices: Choices,
    prefix: str,
    collection: str,
    to: Settings,
    naming: Naming,
    report: ImportReport,
    *,
    dry_run: bool,
) -> int:
    """The exit code."""
    async with open_system(system, address, choices, prefix=prefix, collection=collection) as source:
        paused = await source.paused()
        if dry_run:
            with _refused("--to"):
                await examined(to)  # asked, and not opened: that would mark it as one of ours
        try:
            with report.lines() as tell:
                if dry_run:
                    report.paused(paused, ())
                    imported = await bring_in(source.read(), None, tell, naming=naming, check=may_be_scheduled)
                else:
                    async with _opened("--to", to) as target:
                        let_be = await pause(paused, target.store, origin=source.origin, naming=naming)
                        report.paused(paused, let_be)
                        imported = await bring_in(
                            source.read(),
                            target.store,
                            tell,
                            origin=source.origin,
                            naming=naming,
                            check=may_be_scheduled,
                        )
        except (SideTrouble, SourceAway, AnotherImport):
            report.cut()
            raise
    report.end(imported, dry_run=dry_run)
    if imported.refused:
        return _UNFINISHED
    return _LEFT if imported.of(Verdict.LEFT) else 0
