"""What `tocsin migrate` shows: a bar while it works, what became of each queue and job, and sums."""

from __future__ import annotations

import json
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text
from tocsin.cli.texts import shown

from tocsin_server.domain.queues import QueueFigures
from tocsin_server.domain.words import counted
from tocsin_server.migrate.move.copying import Tell
from tocsin_server.migrate.move.moving import Moved
from tocsin_server.migrate.move.reading import Lines
from tocsin_server.migrate.systems.bring_in import BroughtIn, Line
from tocsin_server.migrate.systems.foreign import Verdict

_ENDLESS = 100_000  # columns where nobody looks at a screen
_SHOWN = 200  # characters of an id; the file has it whole


def _console() -> Console:
    # A name may be "[/x]" or "cart:key:42": nothing that is shown is marked up, and nothing in it is a picture.
    return Console(markup=False, emoji=False, width=None if sys.stdout.isatty() else _ENDLESS)


class MoveReport:
    """Between stores."""

    def __init__(self) -> None:
        self._console = _console()
        self._begun = time.monotonic()
        self._jobs = 0
        self._queues = 0

    @contextmanager
    def progress(self, queue: str) -> Iterator[Tell]:
        """A bar on a terminal, nothing elsewhere."""
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=self._console, transient=True, disable=not sys.stdout.isatty()) as bar:
            task = bar.add_task(shown(queue), total=None)
            yield lambda done, total: bar.update(task, completed=done, total=total)

    def would_move(
        self, queue: str, here: QueueFigures, there: QueueFigures, shared: int, clashes: Sequence[str]
    ) -> None:
        """A dry run's line of a queue. shared: ids that different jobs have on the two sides; clashes: schedules that
        cannot be handed over."""
        there_now = counted(_total(there), "stands", "stand")
        self._say(f"{queue}: {counted(_total(here), 'job')} would be moved; {there_now} in the target")
        if shared:
            self._say(
                f"  {shared:,} would be refused: other jobs there have those ids; cancel and delete one of each two"
            )
        for line in clashes:
            self._say(f"  would be refused: {line}")
        self._jobs += _total(here)

    def moved(self, moved: Moved) -> None:
        """What became of a queue."""
        copied = moved.copied
        self._queues += 1
        self._jobs += copied.placed + copied.same
        if moved.kept_settings:
            self._say(f"{moved.queue}: the target has settings of its own for it, and keeps them")
        what = "moved before; added since:" if moved.already else "moved:" if moved.done else "NOT DONE, still paused:"
        parts = [f"{counted(copied.placed, 'job')} copied", f"{copied.same:,} stood there"]
        parts += [f"{copied.replaced:,} of them over older copies"] if copied.replaced else []
        parts += [counted(copied.removed, "that had gone was removed", "that had gone were removed")] * (
            copied.removed > 0
        )
        parts += [f"{counted(moved.schedules, 'schedule')} handed over"] * (moved.schedules > 0)
        self._say(f"{moved.queue}: {what} {', '.join(parts)}")
        self._some(copied.refused, "refused by the target")
        self._some(copied.unknown, "left: see whether they ran in the target, and schedule anew those that did not")
        self._some(moved.active, "still run; wait for them and run this again, or stop their servers")
        if (verified := moved.verified) is not None:
            self._say(
                f"  verified: {verified.equal:,} of {counted(verified.jobs, 'job is', 'jobs are')} equal, "
                f"{counted(verified.notes, 'note')} looked at, "
                f"{counted(verified.target_only, 'job stands', 'jobs stand')} in the target only"
            )
            self._some(verified.missing, "missing")
            self._some(verified.differing, "different")
            self._some(verified.out_of_order, "out of order")
            self._some(verified.beside, "differences beside the jobs")

    def cannot(self, line: str) -> None:
        """A queue that is not moved."""
        self._queues += 1
        self._say(f"NOT MOVED: {line}")

    def cut(self, queue: str, queues: int) -> None:
        """One of the stores went away."""
        self._say(
            f"cut short in queue {queue}: {self._queues} of {counted(queues, 'queue')} looked after, "
            f"{counted(self._jobs, 'job')} in the target; the next run goes on"
        )

    def end(self, queues: int, source: str, target: str, *, dry_run: bool) -> None:
        """The last line."""
        took = time.monotonic() - self._begun
        rate = "dry run" if dry_run else f"{took:.1f} s, {self._jobs / took:.0f} a second, {_peak_mib():.0f} MiB"
        self._say(f"{counted(queues, 'queue')}, {counted(self._jobs, 'job')} ({rate}): {source} -> {target}")

    def _some(self, lines: Lines, what: str) -> None:
        if lines:
            self._say(f"  {lines.count:,} {what}:")
            for line in lines.first:
                self._say(f"    {line}")
            if lines.count > len(lines.first):
                self._say(f"    ... and {lines.count - len(lines.first):,} more")

    def _say(self, line: str) -> None:
        self._console.print(shown(line), highlight=False, soft_wrap=True)


class ReportTrouble(Exception):
    """The report's file cannot be written; the message says why."""


class ImportReport:
    """From another system. All that is not simply taken is named; with a file, every job has a line there."""

    _NAMED = 10  # for each reason
    _REASONS = 200  # kept: those of a hostile source may be as many as its jobs

    def __init__(self, file: Path | None) -> None:
        self._console = _console()
        self._file = file
        self._reasons: dict[tuple[Verdict, str, str], list[str]] = defaultdict(list)
        self._counts: dict[tuple[Verdict, str, str], int] = defaultdict(int)
        self._further = 0  # for reasons that are not kept
        self._paused: list[str] = []
        self._placed = self._stood = 0
        self._schedules = self._schedules_stood = 0

    @contextmanager
    def lines(self) -> Iterator[Callable[[Line], None]]:
        """Takes the lines, one a job. A terminal shows how many there were so far; how many come nobody knows."""
        columns = (TextColumn("{task.description}", markup=False), BarColumn(), TextColumn("{task.completed:,}"))
        with ExitStack() as stack:
            bar = stack.enter_context(
                Progress(*columns, console=self._console, transient=True, disable=not sys.stdout.isatty())
            )
            task = bar.add_task("", total=None)
            out = None
            if self._file is not None:
                try:
                    out = stack.enter_context(self._file.open("w", encoding="utf-8"))
                except OSError as error:
                    raise ReportTrouble(f"{self._file}: {error.strerror}") from None

            def tell(line: Line) -> None:
                bar.update(task, description=shown(line.foreign.queue), advance=1)
                self._remember(line)
                if out is not None:
                    out.write(json.dumps(_object(line), ensure_ascii=False) + "\n")

            yield tell

    def paused(self, queues: Sequence[str], let_be: Sequence[str]) -> None:
        """Queues that are paused there, and those of them that are not paused here."""
        for queue in queues:
            here = "and not here, where it goes on since an earlier import" if queue in let_be else "and so it is here"
            self._paused.append(f"{queue}: paused there, {here}")

    def cut(self) -> None:
        """The source or the target went away."""
        jobs, schedules = (self._placed, self._stood), (self._schedules, self._schedules_stood)
        self._say(f"cut short: {_brought_in(jobs, schedules)}; the next run goes on")

    def end(self, imported: BroughtIn, *, dry_run: bool) -> None:
        """The table and the reasons."""
        table = Table(box=None, pad_edge=False, header_style="dim")
        for name in ("QUEUE", "STATE", *(verdict.name for verdict in Verdict)):
            table.add_column(name, overflow="fold")
        for queue, state in sorted({(queue, state) for queue, state, _ in imported.counts}):
            figures = (str(imported.counts[queue, state, verdict]) for verdict in Verdict)
            table.add_row(Text(shown(queue)), Text(shown(state)), *figures)  # as they are: "[red]" is a name, too
        self._console.print(table)
        for key in sorted(self._reasons):
            verdict, queue, why = key
            names = ", ".join(self._reasons[key])
            more = self._counts[key] - len(self._reasons[key])
            self._say(f"{verdict} {queue}: {why}: {names}{f' and {more:,} more' if more else ''}")
        if self._further:
            self._say(f"... and {self._further:,} for other reasons; --report FILE has them all")
        for line in self._paused:
            self._say(line)
        if dry_run:
            self._say("dry run: nothing was done")
        else:
            if left := imported.of(Verdict.LEFT):
                self._say(f"{counted(left, 'was', 'were')} left there, for the reasons above")
            jobs, schedules = (imported.placed, imported.stood), (imported.schedules, imported.schedules_stood)
            self._say(_brought_in(jobs, schedules))
            if imported.placed or imported.schedules:
                self._say(
                    "Once all is taken, put the old queue away: to its own workers these jobs still wait, and one that "
                    "is started again would run them."
                )

    def _remember(self, line: Line) -> None:
        if line.foreign.schedule is not None:
            self._schedules_stood += line.stands
            self._schedules += not line.stands
        else:
            self._stood += line.stands
            self._placed += line.foreign.job is not None and not line.stands
        if line.stands:  # what became of it was said when it was brought in, and may be another thing by now
            return
        for why in line.foreign.why:
            key = (line.foreign.verdict, line.foreign.queue, why)
            if key not in self._counts and len(self._counts) == self._REASONS:
                self._further += 1
                continue
            self._counts[key] += 1
            if self._counts[key] <= self._NAMED:
                self._reasons[key].append(_cut(line.foreign.source_id))

    def _say(self, line: str) -> None:
        self._console.print(shown(line), highlight=False, soft_wrap=True)


def _brought_in(jobs: tuple[int, int], schedules: tuple[int, int]) -> str:
    """How many came, and how many had come before; of schedules where there are any."""
    (placed, stood), (made, stood_already) = jobs, schedules
    text = f"{counted(placed, 'job was', 'jobs were')} brought in, {stood:,} had been before"
    if made or stood_already:
        text += f"; {counted(made, 'schedule was', 'schedules were')} brought in, {stood_already:,} had been before"
    return text


def _object(line: Line) -> dict[str, object]:
    foreign = line.foreign
    row: dict[str, object] = {
        "queue": foreign.queue,
        "id": foreign.source_id,
        "state": foreign.source_state,
        "verdict": "before" if line.stands else str(foreign.verdict),
        "why": [] if line.stands else list(foreign.why),
    }
    if foreign.job is not None:
        row |= {"to_queue": foreign.job.queue, "job_id": foreign.job.job_id, "to_state": foreign.job.state.name}
        row["schedule_time"] = foreign.job.schedule_time.isoformat()
    if (schedule := foreign.schedule) is not None:
        row |= {"to_queue": schedule.spec.queue, "schedule_id": schedule.spec.schedule_id}
        row["next_time"] = None if schedule.next_time is None else schedule.next_time.isoformat()
    return row


def _cut(source_id: str) -> str:
    return source_id if len(source_id) <= _SHOWN else f"{source_id[:_SHOWN]}…"


def _peak_mib() -> float:
    """The most memory that this process has had, as far as the system tells."""
    # Linux's rusage says no less than the process that started this one had.
    with suppress(OSError), Path("/proc/self/status").open() as status:
        for line in status:
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    try:
        import resource
    except ModuleNotFoundError:  # Windows
        return 0
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / (1 << 20)


def _total(figures: QueueFigures) -> int:
    return sum(map(figures.total, figures.counts))
