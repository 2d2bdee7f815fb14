"""PreviewSchedule through a real server: what it answers, its refusals, the client, the command line, its page.

At which times a schedule runs stands in tests/unit/server/domain/schedules/.
"""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from support import commands
from support.servers import Server
from support.stubs import Stubs, refusal
from tocsin import (
    Aborted,
    AlreadyExists,
    AsyncClient,
    Calendar,
    Client,
    InvalidArgument,
    NotFound,
    OnExcluded,
    WrongType,
)
from tocsin.v1 import calendar_pb2, job_service_pb2, schedule_pb2
from tocsin.v1 import schedule_service_pb2 as pb
from tocsin.v1 import schedule_service_pb2_grpc as pb_grpc

PAGE = (Path(__file__).parents[2] / "docs/schedules.md").read_text()
DECEMBER = Timestamp(seconds=1_796_083_200)  # 2026-12-01T00:00:00Z, a Tuesday
WEEKEND = calendar_pb2.Calendar(name="weekend", weekdays=["SAT", "sun"])
MOVED = schedule_pb2.CalendarUse(name="weekend", on_excluded="NEXT_DAY")


def cron(*lines: str, zone: str = "", **more: Any) -> schedule_pb2.Schedule:
    return schedule_pb2.Schedule(cron={"lines": lines, "time_zone": zone}, **more)


def every(seconds: int, **more: Any) -> schedule_pb2.Schedule:
    return schedule_pb2.Schedule(every={"interval": Duration(seconds=seconds)}, **more)


def calendars(*given: calendar_pb2.Calendar, **asked: Any) -> dict[str, Any]:
    return {"schedule": cron("0 9 * * *", calendars=[MOVED]), "calendars": given, **asked}


#: What is asked, and the fields that its refusal names.
REFUSED: dict[str, tuple[dict[str, Any], list[str]]] = {
    "nothing": ({}, ["schedule", "schedule.cron"]),
    "no rule": ({"schedule": schedule_pb2.Schedule()}, ["schedule.cron"]),
    "no line": ({"schedule": cron()}, ["schedule.cron.lines"]),
    "21 lines": ({"schedule": cron(*["0 9 * * *"] * 21)}, ["schedule.cron.lines"]),
    "two wrong lines": (
        {"schedule": cron("0 9 * * *", "0 25 * * *", "0 0 30 2 *")},
        ["schedule.cron.lines[1]", "schedule.cron.lines[2]"],
    ),
    "no zone": ({"schedule": cron("0 9 * * *", zone="Mars/Base")}, ["schedule.cron.time_zone"]),
    "no interval": ({"schedule": schedule_pb2.Schedule(every={})}, ["schedule.every.interval"]),
    "an interval of 0": ({"schedule": every(0)}, ["schedule.every.interval"]),
    "an interval of 101 years": ({"schedule": every(101 * 366 * 86_400)}, ["schedule.every.interval"]),
    "an anchor before 1970": (
        {"schedule": schedule_pb2.Schedule(every={"interval": Duration(seconds=9), "anchor": Timestamp(seconds=-1)})},
        ["schedule.every.anchor"],
    ),
    "a queue with a space": ({"schedule": every(9, queue="a b")}, ["schedule.queue"]),
    "an id with a space": ({"schedule": every(9, schedule_id="a b")}, ["schedule.schedule_id"]),
    "an end at the start": (
        {"schedule": every(9, start_time=DECEMBER, end_time=DECEMBER)},
        ["schedule.end_time"],
    ),
    "no runs": ({"schedule": every(9, max_runs=0)}, ["schedule.max_runs"]),
    "a jitter of 25 hours": ({"schedule": every(9, jitter=Duration(seconds=25 * 3600))}, ["schedule.jitter"]),
    "a jitter below 0": ({"schedule": every(9, jitter=Duration(seconds=-1))}, ["schedule.jitter"]),
    "a count of 0": ({"schedule": every(9), "count": 0}, ["count"]),
    "a count of 1,001": ({"schedule": every(9), "count": 1001}, ["count"]),
    "a time past 9999": ({"schedule": every(9), "after": Timestamp(seconds=253_402_300_800)}, ["after"]),
    "a calendar that is not there": (calendars(), ["schedule.calendars[0].name"]),
    "a calendar without a name": (calendars(WEEKEND, calendar_pb2.Calendar()), ["calendars[1].name"]),
    "a calendar twice": (calendars(WEEKEND, WEEKEND), ["calendars[1].name"]),
    "a calendar used twice": (
        {"schedule": cron("0 9 * * *", calendars=[MOVED, MOVED]), "calendars": [WEEKEND]},
        ["schedule.calendars[1].name"],
    ),
    "an unknown action": (
        {
            "schedule": cron("0 9 * * *", calendars=[schedule_pb2.CalendarUse(name="weekend", on_excluded=9)]),  # type: ignore[arg-type]  # no such
            "calendars": [WEEKEND],
        },
        ["schedule.calendars[0].on_excluded"],
    ),
    "no date": (
        calendars(calendar_pb2.Calendar(name="weekend", dates=["2026-12-25", "2026-02-30", "20261225"])),
        ["calendars[0].dates[1]", "calendars[0].dates[2]"],
    ),
    "no day of the week": (
        calendars(calendar_pb2.Calendar(name="weekend", weekdays=["SUNDAY"])),
        ["calendars[0].weekdays[0]"],
    ),
    "all seven days": (
        calendars(calendar_pb2.Calendar(name="weekend", weekdays="MON TUE WED THU FRI SAT SUN".split())),
        ["calendars[0].weekdays"],
    ),
    "no calendar text": (calendars(calendar_pb2.Calendar(name="weekend", ics="holidays")), ["calendars[0].ics"]),
    "no zone of a calendar": (
        calendars(calendar_pb2.Calendar(name="weekend", weekdays=["SAT"], time_zone="x")),
        ["calendars[0].time_zone"],
    ),
    "moving each minute": (
        {"schedule": cron("* * * * *", calendars=[MOVED]), "calendars": [WEEKEND]},
        ["schedule.calendars"],
    ),
}


@pytest.fixture(scope="module")
def stub(quiet: Stubs) -> pb_grpc.ScheduleServiceStub:
    return pb_grpc.ScheduleServiceStub(quiet.channel)


@pytest.mark.parametrize("case", REFUSED)
def test_bad_input_is_refused_with_the_fields_name(stub: pb_grpc.ScheduleServiceStub, case: str) -> None:
    asked, fields = REFUSED[case]
    with pytest.raises(grpc.RpcError) as raised:
        stub.PreviewSchedule(pb.PreviewScheduleRequest(**asked))
    found = refusal(raised.value)
    assert (found.code, found.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD")
    assert found.fields == fields


def previewed(stub: pb_grpc.ScheduleServiceStub, **asked: Any) -> list[schedule_pb2.Occurrence]:
    return list(stub.PreviewSchedule(pb.PreviewScheduleRequest(**{"after": DECEMBER, **asked})).occurrences)


def test_each_time_says_what_is_particular_about_it(stub: pb_grpc.ScheduleServiceStub) -> None:
    night = Timestamp(seconds=1_774_699_200)  # the noon before Berlin's clocks are set forward
    gap, plain = previewed(stub, schedule=cron("30 2 * * *", zone="Europe/Berlin"), after=night, count=2)
    assert (gap.local, gap.time.seconds, gap.due_time) == ("2026-03-29T03:00:00+02:00", 1_774_746_000, gap.time)
    [note] = gap.notes
    assert note.dst_gap.skipped == "2026-03-29T02:30:00"
    assert note.text == "2026-03-29 02:30:00 does not exist, as clocks are set forward: it runs at 03:00:00"
    assert (plain.local, list(plain.notes)) == ("2026-03-30T02:30:00+02:00", [])

    autumn = Timestamp(seconds=1_792_843_200)
    fold = previewed(stub, schedule=cron("30 2 * * *", zone="Europe/Berlin"), after=autumn, count=1)[0]
    assert (fold.local, fold.notes[0].WhichOneof("kind")) == ("2026-10-25T02:30:00+02:00", "dst_fold")

    schedule = cron("0 9 5 * *", calendars=[MOVED], jitter=Duration(seconds=600))
    [moved] = previewed(stub, schedule=schedule, calendars=[WEEKEND], count=1)
    assert moved.local == "2026-12-07T09:00:00+00:00"
    assert (moved.notes[0].excluded.calendar, moved.notes[0].excluded.local) == ("weekend", "2026-12-05T09:00:00+00:00")
    assert moved.notes[0].excluded.moved_to == moved.time
    late = moved.notes[1].jittered.by.ToTimedelta()
    assert moved.due_time.ToDatetime() - moved.time.ToDatetime() == late
    assert timedelta(0) < late <= timedelta(minutes=10)

    use = schedule_pb2.CalendarUse(name="weekend")  # SKIP
    skipped = previewed(stub, schedule=cron("0 9 * * *", calendars=[use]), calendars=[WEEKEND], count=7)
    assert [one.skipped for one in skipped] == [False, False, False, False, True, True, False]
    assert skipped[4].notes[0].text == "weekend excludes 2026-12-05 09:00:00: it is skipped"


def test_the_next_ten_from_now_where_nothing_else_is_asked(stub: pb_grpc.ScheduleServiceStub) -> None:
    answer = stub.PreviewSchedule(pb.PreviewScheduleRequest(schedule=every(3600)))
    times = [one.time.ToDatetime(UTC) for one in answer.occurrences]
    assert len(times) == 10
    assert timedelta(minutes=55) < times[0] - datetime.now(UTC) < timedelta(minutes=65)
    assert {then - before for before, then in pairwise(times)} == {timedelta(hours=1)}


def test_a_thousand_times_of_what_is_dearest(stub: pb_grpc.ScheduleServiceStub) -> None:
    dear = cron(*(f"{minute} 23 * 2 MON#{minute % 5 + 1}" for minute in range(20)), zone="Europe/Berlin")
    found = previewed(stub, schedule=dear, count=1000)
    assert len(found) == 1000
    times = [one.time.seconds for one in found]
    assert times == sorted(set(times))


@pytest.fixture
def client(quiet_server: Server) -> Iterator[Client]:
    with Client(quiet_server.address) as client:
        yield client


def test_the_client_previews(client: Client) -> None:
    off = Calendar(
        dates=[date(2026, 12, 24), "2026-12-25"], weekdays=["SAT", "SUN"], on_excluded=OnExcluded.PREVIOUS_DAY
    )
    found = client.schedules.preview(
        3,
        cron=["0 9 25 * *", "0 9 L * *"],
        time_zone="Europe/Berlin",
        calendars={"office": off},
        after=datetime(2026, 12, 1, tzinfo=UTC),
        jitter=60,
        queue="q",
        schedule_id="pay-day",
    )
    assert [f"{one.local:%a %d %b %H:%M %z}" for one in found] == [
        "Wed 23 Dec 09:00 +0100",
        "Thu 31 Dec 09:00 +0100",
        "Mon 25 Jan 09:00 +0100",
    ]
    assert found[0].time == found[0].local
    assert found[0].notes[0] == "office excludes 2026-12-25 09:00:00: it runs 2026-12-23 09:00:00"
    assert all(timedelta(0) <= one.due_time - one.time <= timedelta(minutes=1) for one in found)
    start = datetime(2026, 12, 1, tzinfo=UTC)
    timed = client.schedules.preview(
        every=timedelta(hours=6),
        anchor=start,
        start_time=start,
        end_time=start + timedelta(days=1),
        max_runs=3,
        after=start,
    )
    assert [one.time.hour for one in timed] == [6, 12, 18]


async def test_the_async_client_has_the_same(quiet_server: Server) -> None:
    async with AsyncClient(quiet_server.address) as client:
        found = await client.schedules.preview(2, cron="@daily", after=datetime(2026, 12, 1, 5, tzinfo=UTC))
        assert [one.time.day for one in found] == [2, 3]


def test_what_the_client_cannot_send_is_refused_before(client: Client) -> None:
    bad: list[tuple[dict[str, Any], str]] = [
        ({"cron": "@daily", "every": 5}, "every"),
        ({"every": 5, "time_zone": "Europe/Berlin"}, "time_zone"),
        ({"cron": "@daily", "anchor": datetime.now(UTC)}, "anchor"),
        ({"every": "5m"}, "every"),
        ({"cron": [5]}, "cron[0]"),
        ({"cron": "@daily", "start_time": datetime(2026, 1, 1)}, "start_time"),
        ({"cron": "@daily", "calendars": {"x": "2026-12-25"}}, "calendars['x']"),
        ({"cron": "@daily", "calendars": {"x": Calendar(on_excluded="DROP")}}, "calendars['x'].on_excluded"),  # type: ignore[arg-type]  # no such
        ({"cron": "@daily", "zone": "Europe/Berlin"}, "zone"),
    ]
    for options, field in bad:
        with pytest.raises(InvalidArgument) as raised:
            client.schedules.preview(**options)
        assert [violation.field for violation in raised.value.violations] == [field]
    with pytest.raises(WrongType):
        client.schedules.preview("5", cron="@daily")  # type: ignore[arg-type]  # no number
    with pytest.raises(InvalidArgument, match="minute"):
        client.schedules.preview(cron="61 * * * *")


# --- docs/schedules.md ---


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def typed(line: str, address: str, *more: str) -> str:
    arguments = shlex.split(line.removeprefix("$ "))
    assert arguments.pop(0) == "tocsin"
    return commands.typed(*arguments, "--address", address, *more, check=True).stdout


def test_the_python_lines_of_the_page_work(quiet_server: Server) -> None:
    code = blocks("python")[1]
    done = subprocess.run(
        [sys.executable, "-c", code.replace("localhost:50051", quiet_server.address)],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert done.stdout.splitlines() == [
        "2026-11-25 09:00:00+01:00",
        "2026-12-28 09:00:00+01:00 office excludes 2026-12-25 09:00:00: it runs 2026-12-28 09:00:00",
        "2027-01-25 09:00:00+01:00",
    ]


def test_the_shell_lines_of_the_page_work(quiet_server: Server) -> None:
    last_days, gap, interval, moved = blocks("console")[1].splitlines()
    assert len(typed(last_days, quiet_server.address).splitlines()) == 6
    assert [" ".join(line.split()) for line in typed(gap, quiet_server.address).splitlines()] == [
        "RUNS AT UTC NOTES",
        "2026-03-29T03:00:00+02:00 2026-03-29T01:00:00.000Z "
        "2026-03-29 02:30:00 does not exist, as clocks are set forward: it runs at 03:00:00",
        "2026-03-30T02:30:00+02:00 2026-03-30T00:30:00.000Z",
    ]
    shown = typed(interval, quiet_server.address, "--json")
    assert [json.loads(line)["local"][-6:] for line in shown.splitlines()] == ["+00:00"] * 3
    assert len(typed(moved, quiet_server.address).splitlines()) == 11


def test_what_the_page_says_runs_when_it_says(client: Client) -> None:
    """The examples of its text, by their answers."""
    spring, autumn = datetime(2026, 3, 28, 12, tzinfo=UTC), datetime(2026, 10, 24, 12, tzinfo=UTC)

    def in_berlin(line: str, after: datetime, count: int) -> list[str]:
        assert f"`{line}`" in PAGE
        found = client.schedules.preview(count, cron=line, time_zone="Europe/Berlin", after=after)
        return [f"{one.local:%d %H:%M}" for one in found]

    assert in_berlin("30 2 * * *", spring, 2) == ["29 03:00", "30 02:30"]
    assert in_berlin("0,15,30,45 2 * * *", spring, 2) == ["29 03:00", "30 02:00"]
    assert in_berlin("*/15 2 * * *", spring, 1) == ["30 02:00"]
    assert [time[:2] for time in in_berlin("*/15 2 * * *", autumn, 9)] == ["25"] * 8 + ["26"]


def test_a_file_of_days_off_and_what_is_typed_wrongly(quiet_server: Server, tmp_path: Path) -> None:
    event = "BEGIN:VEVENT\nDTSTART:20261225\nEND:VEVENT"
    (tmp_path / "off.ics").write_text(f"BEGIN:VCALENDAR\n{event}\nEND:VCALENDAR\n")
    line = f"tocsin schedules preview --cron @daily --after 2026-12-24T12:00:00Z -n 1 --ics {tmp_path}/off.ics"
    assert "days-off excludes 2026-12-25 00:00:00: it is skipped" in typed(line, quiet_server.address)
    for wrong, code, said in (
        ("--cron '61 * * * *'", 1, "has '61' as its minute"),
        ("--every soon", 2, "is no span of time"),
        ("--cron @daily --exclude SAT --on-excluded drop", 2, "is not one of skip, next_day, previous_day"),
        ("--cron @daily --ics nowhere.ics", 2, "cannot be read"),
        ("", 1, "schedule.cron: is needed, or `every`"),
    ):
        with pytest.raises(subprocess.CalledProcessError) as failed:
            typed(f"tocsin schedules preview {wrong}", quiet_server.address)
        assert (failed.value.returncode, said in " ".join(failed.value.stderr.split())) == (code, True)


def test_the_python_lines_for_kept_schedules_work(quiet_server: Server) -> None:
    code = blocks("python")[0].replace("localhost:50051", quiet_server.address)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True)
    following, listed = done.stdout.splitlines()
    assert datetime.fromisoformat(following) > datetime.now(UTC)
    assert listed == "back-up 1 0"


async def test_the_async_client_keeps_schedules(quiet_server: Server) -> None:
    async with AsyncClient(quiet_server.address) as client:
        at = datetime(2099, 1, 1, tzinfo=UTC)
        made = await client.schedules.create("s", queue="kept", every=60, anchor=at, type="t", payload={"n": 1})
        assert made.next_times[0] == at
        with pytest.raises(AlreadyExists):
            await client.schedules.create("s", queue="kept", every=60, type="t")
        changed = await client.schedules.update("s", queue="kept", type="u", catch_up_window=3600, catch_up_max=5)
        found = await client.schedules.get("s", "kept")
        assert (found.revision, found.message.job.type, found.message.catch_up_max) == (changed.revision, "u", 5)
        with pytest.raises(Aborted):
            await client.schedules.update("s", queue="kept", revision=1, note="late")
        assert (await client.schedules.pause("s", "kept", reason="why")).paused
        assert (await client.schedules.resume("s", "kept")).next_times[0] == at
        assert (await client.schedules.trigger("s", "kept")).startswith("s@")
        assert [one.fired for one in await client.schedules.list("kept")] == [1]
        await client.schedules.delete("s", "kept")
        with pytest.raises(NotFound):
            await client.schedules.get("s", "kept")
        with pytest.raises(InvalidArgument):
            await client.schedules.create("s", every=60, type="t", overlap="NEVER")  # type: ignore[arg-type]  # no such


def test_kept_schedules_on_the_command_line(quiet_server: Server) -> None:
    at = quiet_server.address
    made = typed("tocsin schedules create s --every 2h --type t --queue cli --overlap allow --missed all", at)
    assert made.splitlines()[1].split()[0] == "s"
    assert json.loads(typed("tocsin schedules get s --queue cli", at, "--json"))["overlap"] == "ALLOW"
    assert "paused" in typed("tocsin schedules pause s --queue cli --reason why", at)
    assert "paused" not in typed("tocsin schedules resume s --queue cli", at)
    assert typed("tocsin schedules trigger s --queue cli", at).startswith("s@")
    assert typed("tocsin schedules list --queue cli", at).splitlines()[1].split()[-3:] == ["1", "0", "0"]
    assert typed("tocsin schedules delete s --queue cli", at) == ""
    with pytest.raises(subprocess.CalledProcessError):
        typed("tocsin schedules get s --queue cli", at)


def test_the_grpcurl_lines_for_kept_schedules_work(quiet_server: Server, go_tool: Callable[[str], str]) -> None:
    answers = []
    for line in blocks("console")[0].splitlines():
        typed_line = line.removeprefix("$ grpcurl ").replace("localhost:50051", quiet_server.address)
        command = [go_tool("grpcurl"), *shlex.split(typed_line)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        answers.append(json.loads(done.stdout))
    made, got, paused, resumed, triggered, updated, listed, deleted = answers
    assert made["schedule"]["revision"] == "1"
    assert got["schedule"]["job"]["data"] == {"run": "monthly"}
    assert (paused["schedule"]["paused"], resumed["schedule"].get("paused")) == (True, None)
    assert triggered["job_id"].startswith("pay-day@")
    assert updated["schedule"]["note"] == "ask Ada"
    assert [one["schedule_id"] for one in listed["schedules"]] == ["pay-day"]
    assert deleted == {}


def test_a_schedule_runs_time_after_time(quiet: Stubs) -> None:
    service = pb_grpc.ScheduleServiceStub(quiet.channel)
    wanted = schedule_pb2.Schedule(queue="ticking", schedule_id="s", every={"interval": Duration(seconds=1)})
    wanted.job.type, wanted.overlap = "nobody", schedule_pb2.Schedule.ALLOW
    service.CreateSchedule(pb.CreateScheduleRequest(schedule=wanted))
    changes = quiet.jobs.WatchJobs(job_service_pb2.WatchJobsRequest(queue="ticking"), timeout=30)
    made: list[str] = []
    for change in changes:
        if change.HasField("job") and change.job.job_id not in made:
            made.append(change.job.job_id)
            nominal = datetime.fromisoformat(change.job.job_id.removeprefix("s@"))
            assert timedelta(0) <= change.job.create_time.ToDatetime(UTC) - nominal < timedelta(seconds=10)
        if len(made) == 3:
            break
    changes.cancel()
    service.DeleteSchedule(pb.DeleteScheduleRequest(queue="ticking", schedule_id="s"))
    times = [datetime.fromisoformat(job_id.removeprefix("s@")) for job_id in made]
    assert [after - before for before, after in pairwise(times)] == [timedelta(seconds=1)] * 2


def test_the_grpcurl_line_of_the_page_works(quiet_server: Server, go_tool: Callable[[str], str]) -> None:
    line = blocks("console")[2].removeprefix("$ grpcurl ").replace("localhost:50051", quiet_server.address)
    command = [go_tool("grpcurl"), *shlex.split(line)]
    answer = json.loads(subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout)
    first, second = answer["occurrences"]
    assert (first["local"], second["local"]) == ("2026-10-25T02:30:00+02:00", "2026-10-26T02:30:00+01:00")
    assert first["notes"][0]["text"] == "2026-10-25 02:30:00 comes twice, as clocks are set back"
