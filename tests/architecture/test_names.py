"""A public class's name stands for one idea, so that who reads it need not ask which one is meant."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterable, Mapping

from support.source_tree import modules, within

#: The client's public words for what the server has a class of its own for: the same thing on both sides of the wire.
WIRE = {
    "Backoff": "the same numbers of the protos",
    "BackfilledTime": "a time, as it is made up for and as callers see it",
    "Calendar": "days that are excluded, as callers give them and as they are reckoned with",
    "Cancel": "a part of a job",
    "Collapse": "a part of a job's spec",
    "CollapseMode": "the same numbers of the protos",
    "Durability": "what the store promises, in the server's info",
    "DependsOn": "by which rule a job waits, as it is asked for and as it is kept",
    "Explanation": "why a job does not run, as it is found and as callers see it",
    "HeldJob": "an attempt that a worker holds, as servers say it and as callers see it",
    "Imported": "what an import did",
    "Job": "what stands, as it is kept and as callers see it",
    "JobDefaults": "a queue's settings, given and kept",
    "JobError": "a part of a job",
    "JobRef": "names a job, to servers and to callers",
    "JobRequest": "what is asked for, before defaults",
    "KeptCalendar": "what stands, as it is kept and as callers see it",
    "Limit": "a part of a queue's settings, given and kept",
    "LimitScope": "the same numbers of the protos",
    "LogLine": "a line that an attempt wrote",
    "Missed": "the same numbers of the protos",
    "Occurrence": "a time of a schedule, as it is reckoned and as callers see it",
    "OnConflict": "the same numbers of the protos",
    "OnExcluded": "the same numbers of the protos",
    "OnFull": "the same numbers of the protos",
    "Overlap": "the same numbers of the protos",
    "ParentEnd": "the same numbers of the protos",
    "Progress": "a part of a job",
    "PushTarget": "a part of a queue's settings, given and kept",
    "QueueHealth": "how a queue is, as it is found and as callers see it",
    "Rate": "a part of a limit",
    "RefusedRecord": "an item of an import's answer",
    "ReminderKind": "the same numbers of the protos",
    "ReminderSet": "a set, as it is kept and as callers see it",
    "Retention": "a part of a job's terms",
    "RetryPolicy": "a part of a job's terms",
    "Schedule": "what stands, as it is kept and as callers see it",
    "SharedLimit": "what stands, as it is kept and as callers see it",
    "State": "the same numbers of the protos",
    "TocsinError": "the root of what is refused, where it is raised and where it arrives",
    "View": "the same numbers of the protos",
    "Violation": "one wrong field, where it is found and where it arrives",
    "WhenParentFails": "the same numbers of the protos",
    "Why": "the same numbers of the protos",
}

#: The worker runtime knows nothing of the server, and the server has these for its store.
RUNTIME = {
    "AttemptOutcome": "an attempt's end, as the runtime tells it and as the store records it",
    "Ending": "the same numbers on both sides, cast one into the other",
    "Seat": "what the runtime holds of its source, and what leasing gives for it",
}

#: Both send together what lone callers ask for at the same time.
CALLS = {"Gathering": "one way of doing it, for the calls of a client and for those of a server"}

#: The same part of each store.
STORES = {"CrossCheck": "JobStore.check", "Notes": "JobStore.notes and write_note"}

SHARED = dict.fromkeys((*WIRE, *RUNTIME, *CALLS), ("tocsin_server", "tocsin")) | dict.fromkeys(
    STORES, ("tocsin_server.store.redis", "tocsin_server.store.mongo")
)


def repeated(classes: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """Names that stand in two modules, with the modules."""
    found: dict[str, list[str]] = defaultdict(list)
    for name, module in classes:
        found[name].append(module)
    return {name: sorted(places) for name, places in found.items() if len(places) > 1}


def wrong(names: Mapping[str, list[str]]) -> list[str]:
    """Those that do not stand once in each of two places that may share them."""
    return [
        f"{name}: {', '.join(places)}"
        for name, places in names.items()
        if len(places) > 2 or not all(any(within(p, home) for p in places) for home in SHARED.get(name, ("",)))
    ]


def public_classes() -> list[tuple[str, str]]:
    return [
        (node.name, module)
        for module, path in modules()
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    ]


def test_a_class_name_stands_for_one_idea() -> None:
    classes = public_classes()
    assert len(classes) > 300, "the source was not read"
    assert wrong(repeated(classes)) == [], "rename one, or say in this file why they are one idea"


def test_names_said_to_be_shared_are_shared() -> None:
    assert sorted(SHARED.keys() - repeated(public_classes()).keys()) == []


def test_a_second_idea_of_a_name_is_found() -> None:
    both = [("Job", "tocsin.jobs"), ("Job", "tocsin_server.domain.job")]
    assert wrong(repeated(both)) == []
    assert wrong(repeated([*both, ("Job", "tocsin_server.migrate.jobs")])) != []
    assert wrong(repeated([("Job", "tocsin_server.domain.job"), ("Job", "tocsin_server.migrate.jobs")])) != []
    assert wrong(repeated([("Room", "tocsin_server.api.sized"), ("Room", "tocsin_server.operations.room")])) != []
    assert wrong(repeated([("Kind", "tocsin_server.api.call"), ("Kind", "tocsin_server.domain.reminders")])) != []
