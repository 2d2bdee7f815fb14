"""Calendars and backfills as clients and the command line have them, and as docs/schedules.md shows them."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from support import commands
from support.servers import Server
from tocsin import AsyncClient, Calendar, Client, FailedPrecondition, InvalidArgument, KeptCalendar, NotFound

PAGE = (Path(__file__).parents[2] / "docs/schedules.md").read_text()
MARCH = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def client(quiet_server: Server) -> Iterator[Client]:
    with Client(quiet_server.address) as client:
        yield client


def typed(line: str, address: str, *more: str) -> str:
    arguments = shlex.split(line.removeprefix("$ "))
    assert arguments.pop(0) == "tocsin"
    done = commands.typed(*arguments, "--address", address, *more)
    assert done.returncode == 0, done.stderr
    return done.stdout


def refused(line: str, address: str) -> str:
    with pytest.raises(AssertionError) as raised:
        typed(line, address)
    return " ".join(str(raised.value).split())


def test_a_calendar_is_put_read_listed_and_deleted(client: Client) -> None:
    made = client.calendars.put("py-office", dates=[date(2026, 12, 25), "2026-12-26"], weekdays=["SAT"], note="n")
    assert (made.dates, made.weekdays) == ((date(2026, 12, 25), date(2026, 12, 26)), ("SAT",))
    assert (made.name, made.note, made.ics, made.time_zone, made.revision) == ("py-office", "n", "", "", 1)
    assert made.update_time is not None
    assert client.calendars.get("py-office") == made
    assert made in client.calendars.list()
    changed = client.calendars.put("py-office", weekdays=["SUN"], time_zone="Europe/Berlin", revision=1)
    assert (changed.dates, changed.weekdays, changed.revision) == ((), ("SUN",), 2)
    client.calendars.delete("py-office")
    with pytest.raises(NotFound):
        client.calendars.get("py-office")
    for wrong in ({"dates": ["25.12."]}, {"weekdays": ["Sunday"]}, {"ics": "x"}):
        with pytest.raises(InvalidArgument):
            client.calendars.put("py-office", **wrong)  # type: ignore[arg-type]  # one of its options


async def test_the_async_client_keeps_calendars_and_backfills(quiet_server: Server) -> None:
    async with AsyncClient(quiet_server.address) as client:
        made = await client.calendars.put("async-office", dates=["2026-03-02"])
        assert isinstance(made, KeptCalendar)
        assert await client.calendars.get("async-office") == made
        assert made in await client.calendars.list()
        at = {"queue": "async-calendars"}
        made_schedule = await client.schedules.create("s", cron="0 9 * * *", type="t", calendars=["async-office"], **at)
        assert [use.name for use in made_schedule.message.calendars] == ["async-office"]
        with pytest.raises(FailedPrecondition, match="'s' in queue 'async-calendars'"):
            await client.calendars.delete("async-office")
        end = datetime(2026, 3, 4, tzinfo=UTC)
        dry = await client.schedules.backfill("s", MARCH, end, dry_run=True, **at)
        assert (dry.made, dry.kept, [one.job_id for one in dry.times]) == (
            2,
            0,
            ["s@2026-03-01T09:00:00Z", "", "s@2026-03-03T09:00:00Z"],
        )
        assert dry.times[1].occurrence.skipped
        done = await client.schedules.backfill("s", MARCH, end, **at)
        assert (done.made, done.kept) == (2, 0)
        job = await client.get("s@2026-03-01T09:00:00Z", **at)
        assert (job.schedule_id, job.nominal_time) == ("s", datetime(2026, 3, 1, 9, tzinfo=UTC))
        assert (await client.schedules.get("s", **at)).backfilled == 2
        assert (await client.schedules.backfill("s", MARCH, end, **at)).kept == 2
        shown = await client.schedules.preview(2, schedule_id="s", after=MARCH, **at)
        assert [(one.time.day, one.skipped) for one in shown] == [(1, False), (2, True)]
        await client.schedules.update("s", calendars={}, **at)
        await client.calendars.delete("async-office")


def test_what_a_schedule_is_told_of_calendars(client: Client) -> None:
    client.calendars.put("told", weekdays=["SAT", "SUN"])
    made = client.schedules.create("told", cron="0 9 * * *", type="t", calendars={"told": "NEXT_DAY"})
    assert made.message.calendars[0].on_excluded == 2
    after = datetime(2026, 11, 28, tzinfo=UTC)
    instead = {"told": Calendar(weekdays=["FRI"])}
    shown = client.schedules.preview(2, schedule_id="told", calendars=instead, after=after)
    assert [one.time.day for one in shown] == [28, 29]
    shown = client.schedules.preview(1, cron="0 9 * * *", calendars=["told"], after=after)
    assert [one.skipped for one in shown] == [True]
    for wrong in ("told", {"told": "NEVER"}, {"told": Calendar()}):
        with pytest.raises(InvalidArgument):
            client.schedules.create("told2", cron="0 9 * * *", type="t", calendars=wrong)  # type: ignore[arg-type]
    cleared = client.schedules.update("told", calendars=(), end_time=None, max_runs=None)
    assert not cleared.message.calendars
    client.schedules.delete("told")
    client.calendars.delete("told")


def test_calendars_on_the_command_line(quiet_server: Server, tmp_path: Path) -> None:
    at = quiet_server.address
    (tmp_path / "off.ics").write_text("BEGIN:VCALENDAR\nBEGIN:VEVENT\nDTSTART:20261225\nEND:VEVENT\nEND:VCALENDAR\n")
    put = f"tocsin calendars put cli-office --day SAT --day SUN --day 2026-12-24 --ics {tmp_path}/off.ics --note mine"
    assert typed(put, at).splitlines()[1].split() == ["cli-office", "SAT", "SUN", "1", "yes", "1", "mine"]
    assert json.loads(typed("tocsin calendars get cli-office", at, "--json"))["weekdays"] == ["SAT", "SUN"]
    assert "cli-office" in typed("tocsin calendars list", at)
    create = "tocsin schedules create cli-s --cron '0 9 * * *' --time-zone Europe/Berlin --type t --calendar "
    typed(
        f"{create}cli-office=next_day --start 2026-01-01T00:00:00Z --end 2099-01-01T00:00:00Z --jitter 5m --max-runs 9 "
        "--missed all --catch-up-window 2h --catch-up-max 7 --priority high --timeout 30s --max-attempts 5 --tag a=b",
        at,
    )
    made = json.loads(typed("tocsin schedules get cli-s", at, "--json"))
    assert made["calendars"] == [{"name": "cli-office", "onExcluded": "NEXT_DAY"}]
    assert (made["maxRuns"], made["jitter"]) == ("9", "300s")
    assert (made["missed"], made["catchUpWindow"], made["catchUpMax"]) == ("ALL", "7200s", 7)
    assert (made["startTime"][:4], made["endTime"][:4]) == ("2026", "2099")
    job = made["job"]
    assert (job["priority"], job["timeout"], job["retry"]["maxAttempts"], job["tags"]) == (10, "30s", 5, {"a": "b"})
    assert "cli-s" in refused("tocsin calendars delete cli-office", at)
    assert "names no calendar that is there" in refused(f"{create}nowhere", at)
    assert "is not one of skip, next_day, previous_day" in refused(f"{create}cli-office=never", at)
    typed("tocsin schedules update cli-s --note changed --clear max_runs --clear calendars --clear end_time", at)
    changed = json.loads(typed("tocsin schedules get cli-s", at, "--json"))
    assert changed["note"] == "changed"
    assert not changed.keys() & {"maxRuns", "endTime"}
    assert changed["calendars"] == []
    assert changed["job"] == job
    assert "is none of start_time, end_time" in refused("tocsin schedules update cli-s --clear job", at)
    span = "--from 2026-03-28T00:00:00Z --to 2026-03-30T00:00:00Z"
    assert typed(f"tocsin schedules backfill cli-s {span} --dry-run", at).splitlines()[-1] == (
        "2 would be made, 0 stood already"
    )
    assert typed(f"tocsin schedules backfill cli-s {span}", at).splitlines()[-1] == "2 made, 0 stood already"
    shown = typed("tocsin jobs get cli-s@2026-03-29T07:00:00Z", at)
    assert re.search(r"^schedule +cli-s$", shown, re.MULTILINE)
    assert re.search(r"^nominal +2026-03-29T07:00:00", shown, re.MULTILINE)
    assert len(typed("tocsin schedules preview cli-s -n 3", at).splitlines()) == 4
    assert "not both" in refused("tocsin schedules preview cli-s --cron @daily", at)
    typed("tocsin schedules delete cli-s", at)
    typed("tocsin calendars delete cli-office", at)


# --- docs/schedules.md ---


def section(title: str) -> str:
    return PAGE.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def blocks(title: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", section(title), re.DOTALL)


def ran(code: str, address: str) -> list[str]:
    command = [sys.executable, "-c", code.replace("localhost:50051", address)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def called(line: str, address: str, go_tool: Callable[[str], str]) -> dict[str, object]:
    arguments = shlex.split(line.removeprefix("$ grpcurl ").replace("localhost:50051", address))
    done = subprocess.run([go_tool("grpcurl"), *arguments], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    found: dict[str, object] = json.loads(done.stdout)
    return found


def test_the_grpcurl_lines_of_the_page_for_calendars_work(quiet_server: Server, go_tool: Callable[[str], str]) -> None:
    lines = [line for line in blocks("Days off", "console")[0].splitlines() if line.startswith("$ grpcurl")]
    put, create, preview, listed = (called(line, quiet_server.address, go_tool) for line in lines)
    assert put["calendar"]["revision"] == "1"  # type: ignore[index]  # it is an object
    assert create["schedule"]["calendars"] == [{"name": "office", "on_excluded": "NEXT_DAY"}]  # type: ignore[index]
    assert len(preview["occurrences"]) == 3  # type: ignore[arg-type]
    assert "office" in [one["name"] for one in listed["calendars"]]  # type: ignore[attr-defined]
    with Client(quiet_server.address) as client:
        client.schedules.delete("salaries")


def test_the_python_lines_of_the_page_for_calendars_work(quiet_server: Server) -> None:
    [code] = blocks("Days off", "python")
    assert ran(code, quiet_server.address) == [
        "2026-12-24 09:00:00+01:00",
        "2026-12-28 09:00:00+01:00 office excludes 2026-12-25 09:00:00: it runs 2026-12-28 09:00:00",
    ]


def test_the_typed_lines_of_the_page_for_calendars_work(quiet_server: Server) -> None:
    lines = [line for line in blocks("Days off", "console")[0].splitlines() if line.startswith("$ tocsin")]
    assert [typed(line, quiet_server.address).splitlines()[1].split()[0] for line in lines] == ["bank", "bank"]
    typed("tocsin calendars delete bank", quiet_server.address)


def test_the_lines_of_the_page_for_the_past_work(quiet_server: Server, go_tool: Callable[[str], str]) -> None:
    title = "Making up for the past"
    grpcurl, *others = blocks(title, "console")[0].splitlines()
    with Client(quiet_server.address) as client:
        client.schedules.create("pay-day", cron="0 9 L * *", time_zone="Europe/Berlin", type="pay")
        answer = called(grpcurl, quiet_server.address, go_tool)
        assert [one["job_id"] for one in answer["times"]][:1] == ["pay-day@2026-01-31T08:00:00Z"]  # type: ignore[attr-defined]
        assert ran(blocks(title, "python")[0], quiet_server.address) == [
            "pay-day@2026-01-31T08:00:00Z",
            "pay-day@2026-02-28T08:00:00Z",
            "pay-day@2026-03-31T07:00:00Z",
        ]
        assert [typed(line, quiet_server.address).splitlines()[-1] for line in others] == ["0 made, 3 stood already"]
        client.schedules.delete("pay-day")


def test_reports_and_clean_up_by_schedule_work_as_the_page_has_them(
    quiet_server: Server, go_tool: Callable[[str], str]
) -> None:
    title = "Reports and cleaning up, by schedule"
    with Client(quiet_server.address) as client:
        client.calendars.put("holidays", dates=["2026-12-28"])
        for line in blocks(title, "console")[0].splitlines():
            made = called(line, quiet_server.address, go_tool)["schedule"]
            client.schedules.delete(made["schedule_id"])  # type: ignore[index]
        ran(blocks(title, "python")[0], quiet_server.address)
        report, clean_up = client.schedules.get("weekly-report"), client.schedules.get("nightly-clean-up")
        assert report.message.job.report_generation.email_to == ["ada@example.com"]
        assert clean_up.message.job.WhichOneof("payload") == "data_cleanup"
        for one in (report, clean_up):
            client.schedules.delete(one.schedule_id)
        client.calendars.delete("holidays")
