"""`tocsin export` and `tocsin import`: all that stands in a store, to a file and back."""

from __future__ import annotations

import os
import sys
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, fields
from datetime import UTC, datetime
from typing import Annotated, TypeAlias

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from tocsin.cli import json_lines, texts
from tocsin.cli.connecting import Address, AsJson, connected, fail
from tocsin.cli.export_file import BadLine, ExportFile, NotAnExport, first_line, last_line, record_line, written
from tocsin.client import Client
from tocsin.enums import Over
from tocsin.errors import TocsinError
from tocsin.transfer import Imported, RefusedRecord
from tocsin.v1.transfer_pb2 import TransferRecord

Queues: TypeAlias = Annotated[
    list[str] | None, typer.Option("--queue", "-q", help="Only this queue. May be repeated. Default: all.")
]
#: Hears how far it is, in what the total was given in.
Tell: TypeAlias = Callable[[float], None]

_DEFAULT_QUEUE = "default"
_LINE_CHARACTERS = 400  # of what is wrong with a line


def export(
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="Where to; - is standard output. Packed where it ends in .gz.")
    ],
    queue: Queues = None,
    decrypt: Annotated[
        bool,
        typer.Option(
            "--decrypt",
            metavar="",
            help="Write clear records, also where the server's store is encrypted. Default: encrypted as that is, for "
            "servers that have its keys.",
        ),
    ] = False,
    address: Address = None,
) -> None:
    """Write all that stands in the store to a file: settings of queues, reminder sets, jobs with their payloads,
    schedules and calendars.

    The file has its name only once it is whole. Jobs may go on meanwhile, and be in it as they were before or after;
    to move them, stop first what schedules and runs them.
    """
    done, sealed = {"queue": 0, "job": 0, "note": 0, "schedule": 0, "calendar": 0}, False
    with connected(address) as client:
        info = client.server_info()
        facts: dict[str, object] = {
            "server_version": info.version,
            "provider": info.provider,
            "export_time": datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        }
        if queue:
            facts["queues"] = queue
        with _file_errors(file), written(file) as out, _bar("exporting", lambda: _jobs(client, queue)) as tell:
            out.write(first_line(facts))
            for record in client.export_jobs(queue or (), decrypt=decrypt):
                out.write(record_line(record))
                done[_kind_of(record)] += 1
                sealed = sealed or record.HasField("sealed")
                tell(done["job"])
            out.write(last_line(sum(done.values())))
    print(
        f"exported {texts.counted(done['job'], 'job')}, {texts.counted(done['queue'], 'queue')} and "
        f"{texts.counted(done['note'], 'reminder set')}"
        + "".join(f", {texts.counted(done[kind], kind)}" for kind in ("schedule", "calendar") if done[kind])
        + f"{', encrypted: to import them a server needs a copy of the key ring' if sealed else ''}",
        file=sys.stderr if file == "-" else sys.stdout,
    )


def import_(
    file: Annotated[str, typer.Argument(metavar="FILE", help="What `tocsin export` wrote; - is standard input.")],
    queue: Queues = None,
    replace: Annotated[
        bool,
        typer.Option(
            "--replace", metavar="", help="Put what is in the file in the place of what stands. Default: keep that."
        ),
    ] = False,
    address: Address = None,
    json: AsJson = False,
) -> None:
    """Bring in what was exported, from this store or another. What stands already is kept.

    Lines that are broken and records that are refused are named, and the rest goes on; then it exits 1. To make an
    import again is safe: what it has brought in is kept.
    """
    with _opened(file) as found:
        with connected(address) as client:
            client.server_info()  # one that is not there is told at once; later it is waited for
        with connected(address, retries=not replace) as client, _bar("importing", lambda: found.size) as tell:
            one = _Import(found, queue or (), tell)
            try:
                over = Over.REPLACE if replace else Over.KEEP
                done = client.import_jobs(one.records(), over=over, report=one.hear)
            except TocsinError:
                _say(f"the import ended early; before that: {_figures(one.done)}")
                raise
    if json:
        figures = {field.name: getattr(done, field.name) for field in fields(done) if field.name != "refusals"}
        json_lines.print_json_line({**figures, "bad_lines": one.bad_lines})
    else:
        bad = f"; {texts.counted(one.bad_lines, 'line')} could not be read" if one.bad_lines else ""
        print(f"{_figures(done)}{bad}")
    if done.refused or one.bad_lines:
        raise typer.Exit(1)


class _Import:
    """One file on its way in: tells of bad lines at once, and of refused records by the lines that they stood on."""

    def __init__(self, file: ExportFile, queues: list[str] | tuple[()], tell: Tell) -> None:
        self._file = file
        self._queues = frozenset(queues)
        self._tell = tell
        # Lines of the records that are under way, the first of which has this index.
        self._lines: deque[int] = deque()
        self._index = 0
        self.bad_lines = 0
        self.done = Imported()

    def records(self) -> Iterator[TransferRecord]:
        """The good ones."""
        for found in self._file.records():
            if isinstance(found, BadLine):
                self.bad_lines += 1
                _say(f"line {self._file.line}: {found}")
            elif not self._queues or found.HasField("calendar") or _queue_of(found) in self._queues:
                self._lines.append(self._file.line)
                yield found

    def hear(self, part: Imported) -> None:
        """What became of the next records."""
        for refusal in part.refusals:
            _say(f"line {self._lines[refusal.index - self._index]}: {_refused(refusal)}")
        for _ in range(part.records):
            self._lines.popleft()
        self._index += part.records
        self.done = self.done.plus(part)
        self._tell(self._file.place)


def _kind_of(record: TransferRecord) -> str:
    if record.HasField("sealed"):
        return TransferRecord.DESCRIPTOR.fields_by_number[record.sealed.record_field].name
    return record.WhichOneof("record") or "job"


def _queue_of(record: TransferRecord) -> str:
    if record.HasField("sealed"):
        return record.sealed.queue
    if record.HasField("job"):
        return record.job.job.queue or _DEFAULT_QUEUE
    if record.HasField("schedule"):
        return record.schedule.schedule.queue or _DEFAULT_QUEUE
    return (record.queue.queue.queue if record.HasField("queue") else record.note.queue) or _DEFAULT_QUEUE


def _refused(refusal: RefusedRecord) -> str:
    what = f"job {refusal.job_id!r} of queue {refusal.queue!r}: " if refusal.job_id else ""
    why = str(refusal.error).replace(f"records[{refusal.index}].", "").replace(f"records[{refusal.index}]", "record")
    return f"{what}{why} [{refusal.error.reason}]"


def _figures(done: Imported) -> str:
    words = {"created": "created", "kept": "kept", "same": "the same", "replaced": "replaced", "refused": "refused"}
    ran = f" ({texts.counted(done.released, 'job')} had been running)" if done.released else ""
    return ", ".join(f"{getattr(done, name):,} {word}" for name, word in words.items()) + ran


def _jobs(client: Client, queues: list[str] | None) -> int:
    """How many jobs there are about."""
    wanted = frozenset(queues or ())
    counts = (found.counts for found in client.queues() if not wanted or found.name in wanted)
    return sum(sum(asdict(one).values()) for one in counts if one is not None)


def _say(line: str) -> None:
    shown = texts.one_line(" ".join(line.split()))
    print(shown if len(shown) <= _LINE_CHARACTERS else shown[:_LINE_CHARACTERS] + "...", file=sys.stderr)


@contextmanager
def _bar(words: str, total: Callable[[], int | None]) -> Iterator[Tell]:
    """How far it is, on a terminal alone."""
    if not sys.stderr.isatty():
        yield lambda done: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(words, total=total())
        yield lambda done: progress.update(task, completed=done)


@contextmanager
def _file_errors(name: str) -> Iterator[None]:
    """What cannot be written is told in one line, and exits 1; a file that nobody could write exits 2."""
    try:
        yield
    except TocsinError:  # one of them is a TimeoutError, too
        raise
    except BrokenPipeError:  # whoever read standard output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(1) from None
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError, PermissionError) as error:
        raise typer.BadParameter(f"{name} cannot be written: {error.strerror}", param_hint="FILE") from None
    except OSError as error:
        fail(f"{name} could not be written: {error.strerror or error}", "")


@contextmanager
def _opened(name: str) -> Iterator[ExportFile]:
    try:
        raw = sys.stdin.buffer if name == "-" else open(name, "rb")
    except OSError as error:
        raise typer.BadParameter(f"{name} cannot be read: {error.strerror}", param_hint="FILE") from None
    with closing(raw):
        try:
            found = ExportFile(raw)
        except NotAnExport as error:
            why = texts.one_line(f"{name} cannot be imported: {error}")
            raise typer.BadParameter(why, param_hint="FILE") from None
        yield found
