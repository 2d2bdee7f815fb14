"""Refusals (domain/errors.py and its parts): each has a reason of the closed list, and says what to do."""

from __future__ import annotations

import ast
import inspect
import itertools
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from support.source_tree import modules, within
from tocsin_server.domain import bulk_actions, errors, job_errors, shared_limits
from tocsin_server.domain.bulk_actions import BulkTokenStale
from tocsin_server.domain.errors import (
    AuditAway,
    CannotDecrypt,
    ClockNotManual,
    DeadlineOutcomeUnknown,
    DeadlinePassed,
    Draining,
    ImportCut,
    Internal,
    InvalidFields,
    KeyMissing,
    NotAllowed,
    NotAuthenticated,
    NotBuilt,
    OutcomeUnknown,
    QueueDraining,
    QueueInUse,
    QueueMoved,
    QuotaExceeded,
    ReadTooSlow,
    RemindersNotFound,
    RequestLate,
    StoreAway,
    StoreFull,
    TocsinError,
    TooLarge,
    TooManyBytes,
    TooManyCalls,
    TooManyQueuesWatched,
    TooManyRequests,
    TransferIdle,
    Violation,
    WatchAged,
)
from tocsin_server.domain.job_errors import (
    EndedOtherwise,
    IsWaitedFor,
    JobActive,
    JobExists,
    JobNotFound,
    LeaseLost,
    ParentNotFound,
    ParentRefused,
    ReminderIdTaken,
    RevisionMismatch,
    WrongState,
)
from tocsin_server.domain.schedules import errors as schedule_errors
from tocsin_server.domain.schedules.errors import (
    CalendarChanged,
    CalendarInUse,
    CalendarNotFound,
    ScheduleChanged,
    ScheduleExists,
    ScheduleNotFound,
    TooManyTimes,
)
from tocsin_server.domain.shared_limits import QueueShares, SharedLimitNotFound
from tocsin_server.domain.states import State

PROTO = Path(__file__).parents[4] / "protos" / "tocsin" / "v1" / "error_reason.proto"
REASONS = set(re.findall(r"^  ([A-Z_]+) = [1-9]\d*;", PROTO.read_text(), re.MULTILINE))

ALL: list[TocsinError] = [
    InvalidFields([Violation("job.type", "is needed"), Violation("job.priority", "is no int32")]),
    TooLarge("job.raw.body", 2_000_000, 1_048_576),
    JobNotFound("q", "a"),
    ParentNotFound("q", "a", 2),
    IsWaitedFor("q", "a", State.SCHEDULED),
    ParentRefused("job.depends_on.parents[0].batch_item", 3),
    RemindersNotFound("q", "booking", "42"),
    BulkTokenStale("q"),
    SharedLimitNotFound("l"),
    QueueShares("q", ["l"]),
    JobExists("q", "a", State.COMPLETED),
    ReminderIdTaken("q", "a", State.WAITING),
    JobActive("q", "a"),
    WrongState("q", "a", State.FAILED, "CancelJob"),
    LeaseLost("q", "a", 2),
    EndedOtherwise("q", "a", 2),
    RevisionMismatch("q", "a", 3, 4),
    ScheduleNotFound("q", "a"),
    ScheduleExists("q", "a"),
    ScheduleChanged("q", "a", 3, 4),
    TooManyTimes("to", 1_000, datetime(2026, 1, 2, tzinfo=UTC)),
    CalendarNotFound("c"),
    CalendarChanged("c", 3, 4),
    CalendarInUse("c", [("q", "a")], more=True),
    QuotaExceeded("types in queue 'q'", 1_000, "Use fewer types."),
    TooManyCalls("watch", 10_000),
    TooManyQueuesWatched(128),
    TooManyBytes(64 << 20),
    TooManyRequests(2.0, timedelta(seconds=0.5)),
    AuditAway(),
    QueueMoved("q", "its jobs move to redis://h", done=False),
    QueueDraining("q"),
    QueueInUse("q", 3),
    ClockNotManual(),
    CannotDecrypt("q", "a", "payload", "it was altered"),
    KeyMissing("q", "a", "payload", "5f0c2a91"),
    StoreFull("OOM"),
    StoreAway("connection refused"),
    OutcomeUnknown("no answer within 5 s"),
    DeadlineOutcomeUnknown(),
    ImportCut(3, Draining()),
    NotAuthenticated("the token is not known. Ask for another one."),
    NotAllowed("shop may not call it. Have the scope added.", scope="read"),
    Draining(),
    WatchAged(timedelta(hours=1)),
    DeadlinePassed(),
    ReadTooSlow(),
    TransferIdle(timedelta(seconds=30)),
    RequestLate(timedelta(seconds=30)),
    NotBuilt("not built in this version; see the docs."),
    Internal("0123"),
]
each = pytest.mark.parametrize("error", ALL, ids=lambda error: type(error).__name__)


MODULES = (errors, job_errors, schedule_errors, bulk_actions, shared_limits)


def kinds() -> set[type[TocsinError]]:
    classes = [kind for module in MODULES for _, kind in inspect.getmembers(module, inspect.isclass)]
    found = {kind for kind in classes if issubclass(kind, TocsinError)}
    return {kind for kind in found if not kind.__name__.startswith("_")} - {TocsinError}


def drawn(tree: str) -> list[str]:
    return re.findall(r"── (\w+)", tree)


def test_every_kind_is_looked_at_here() -> None:
    assert {type(error) for error in ALL} == kinds()


def test_every_refusal_stands_here() -> None:
    """Whoever looks for what there is looks in one file, which says where the wording of one is."""
    names = {kind.__name__ for kind in kinds()} | {"TocsinError"}
    elsewhere = [
        f"{module}.{node.name}"
        for module, path in modules()
        if within(module, "tocsin_server") and module not in {one.__name__ for one in MODULES}
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ClassDef) and any(ast.unparse(base).split(".")[-1] in names for base in node.bases)
    ]
    assert elsewhere == []


def test_the_drawing_at_the_top_names_every_kind() -> None:
    assert set(drawn(errors.__doc__ or "")) == {kind.__name__ for kind in kinds()}


def test_the_drawing_says_which_stand_elsewhere() -> None:
    _, elsewhere, *_ = (errors.__doc__ or "").split("\n│\n")
    assert elsewhere.startswith("│   about one job: job_errors.py\n")
    assert set(drawn(elsewhere)) == {kind.__name__ for kind in kinds() if kind.__module__ == job_errors.__name__}


@each
def test_its_reason_is_in_the_closed_list(error: TocsinError) -> None:
    assert error.reason in REASONS


def test_no_two_kinds_share_a_reason_but_where_both_have_it_of_the_same_one_that_they_refine() -> None:
    def whose(kind: type[TocsinError]) -> type:
        return next(base for base in kind.__mro__ if "reason" in vars(base))

    of_a_revision = {RevisionMismatch, ScheduleChanged, CalendarChanged}  # one refusal, of three kinds of things
    for one, other in itertools.combinations(map(type, ALL), 2):
        assert one.reason != other.reason or whose(one) is whose(other) or {one, other} <= of_a_revision


@each
def test_it_says_something_in_one_line(error: TocsinError) -> None:
    assert len(str(error)) > 20
    assert "\n" not in str(error)


#: The words by which each says what to do, or what holds now.
ADVICE = {
    TooLarge: "Send less",
    ParentNotFound: "Schedule that one first",
    ParentRefused: "was refused",
    IsWaitedFor: "left where it is",
    JobNotFound: "Check both names",
    JobExists: "KEEP",
    JobActive: "Cancel it, or wait",
    WrongState: "nothing was changed",
    EndedOtherwise: "report one outcome",
    LeaseLost: "Drop it",
    RevisionMismatch: "Read it again",
    ScheduleNotFound: "Check both names",
    ScheduleExists: "UpdateSchedule changes it",
    ScheduleChanged: "Read it again",
    TooManyTimes: "from there on",
    CalendarNotFound: "make it with PutCalendar",
    QueueShares: "it out of them",
    SharedLimitNotFound: "make it with PutSharedLimit",
    CalendarChanged: "Read it again",
    CalendarInUse: "Take it out of them",
    QuotaExceeded: "Use fewer",
    TooManyCalls: "wait",
    TooManyQueuesWatched: "end some watches",
    TooManyBytes: "Repeat it in a moment",
    TooManyRequests: "Repeat it in 0.500 s",
    AuditAway: "Make room",
    ImportCut: "make it again with KEEP",
    WatchAged: "open it again",
    ReminderIdTaken: "Delete that job",
    QueueMoved: "take_back",
    QueueDraining: "another queue",
    QueueInUse: "PurgeJobs",
    ClockNotManual: "made for it",
    StoreFull: "Make room, or wait",
    StoreAway: "Repeat the call",
    OutcomeUnknown: "same job_id and on_conflict KEEP",
    Draining: "Repeat the call",
    DeadlinePassed: "Repeat with more time",
    RequestLate: "Send the request",
}


S = State
#: The states that each verb is refused in, and what does then apply.
WRONG_STATES = {
    "RunJob": {
        S.BLOCKED: "jobs that it waits for",
        S.COMPLETED: "REPLACE",
        S.FAILED: "RetryJob",
        S.CANCELLED: "RetryJob",
    },
    "RetryJob": {S.SCHEDULED: "RunJob", S.BLOCKED: "jobs that it waits for", S.COMPLETED: "REPLACE"},
    "UpdateJob": {
        S.ACTIVE: "Wait for its end, or cancel it",
        S.COMPLETED: "REPLACE",
        S.FAILED: "REPLACE",
        S.CANCELLED: "REPLACE",
    },
    "CancelJob": {S.COMPLETED: "nothing left to cancel", S.FAILED: "nothing left to cancel"},
    "DeleteJob": dict.fromkeys((S.SCHEDULED, S.BLOCKED, S.WAITING, S.ACTIVE), "Cancel it first"),
}


@pytest.mark.parametrize(
    ("verb", "state", "words"),
    [(verb, state, words) for verb, states in WRONG_STATES.items() for state, words in states.items()],
)
def test_a_wrong_state_says_what_to_do_instead(verb: str, state: State, words: str) -> None:
    said = str(WrongState("q", "a", state, verb))
    assert f"is {state.name}, and {verb} does not apply; nothing was changed. " in said
    assert words in said.partition("nothing was changed. ")[2]


@each
def test_it_says_what_to_do(error: TocsinError) -> None:
    assert ADVICE.get(type(error), "") in str(error)


@each
def test_what_it_is_about_can_be_read_by_programs(error: TocsinError) -> None:
    assert all(isinstance(key, str) and isinstance(value, str) for key, value in error.metadata.items())
    for name in ("queue", "job_id"):
        if about := getattr(error, name, ""):
            assert error.metadata[name] == about
    if getattr(error, "state", None) is not None:
        assert error.metadata["state"] == error.state.name  # type: ignore[attr-defined]  # looked for above


def test_all_violations_are_named() -> None:
    error = ALL[0]
    assert isinstance(error, InvalidFields)
    assert str(error) == "job.type: is needed; job.priority: is no int32"
    assert [violation.field for violation in error.violations] == ["job.type", "job.priority"]


def test_where_waiting_helps_it_says_how_long() -> None:
    waits = {type(error) for error in ALL if error.retry_after is not None}
    assert waits == {
        *(TooManyCalls, TooManyQueuesWatched, TooManyBytes, TooManyRequests, AuditAway),
        *(StoreFull, StoreAway),
        *(OutcomeUnknown, DeadlineOutcomeUnknown, ImportCut),
        *(Draining, WatchAged),
    }
    assert all(error.retry_after > timedelta(0) for error in ALL if error.retry_after is not None)


def test_only_an_unknown_outcome_leaves_open_whether_it_acted() -> None:
    assert "may have acted" in str(OutcomeUnknown("x"))
    assert "nothing was sent" in str(StoreAway("x"))
    assert all("may have acted" not in str(error) for error in ALL if not isinstance(error, OutcomeUnknown))


def test_one_is_one() -> None:
    assert str(QueueInUse("q", 1)).startswith("1 job stands in queue 'q'; ")
    assert str(QueueInUse("q", 0, ["a", "b"])).startswith("no job stands in queue 'q', but schedules do ('a', 'b'); ")
    assert str(QueueInUse("q", 1_200)).startswith("1,200 jobs stand in queue 'q'; ")


def test_an_odd_id_cannot_break_the_message() -> None:
    assert "\n" not in str(JobNotFound("q", "a\nb\u202e"))
    assert "\u202e" not in str(JobNotFound("q", "a\nb\u202e"))
