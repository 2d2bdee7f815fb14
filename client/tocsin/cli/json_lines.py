"""Answers for programs: one JSON object a line, field names as in proto JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping

from google.protobuf import json_format
from google.protobuf.message import Message

from tocsin.cli.texts import time_text
from tocsin.following import Explanation, LogLine
from tocsin.jobs import Job, JobChange

#: Fields whose keys are the user's own: they come from the wire in any order.
_USERS_OWN = frozenset(("data", "tags", "templateData", "template_data", "result", "typeDefaults"))
_WHOLE = 2**53


def print_json(message: Message) -> None:
    """One JSON object on one line."""
    print_json_line(as_object(message))


def print_job_json(job: Job) -> None:
    """A job, as one JSON object on one line."""
    print_json(job.message)


def print_change_json(change: JobChange) -> None:
    """A change, as WatchJobs's answer in JSON on one line."""
    line: dict[str, object] = {}
    if change.job is not None:
        line["job"] = as_object(change.job.message)
    if change.deleted:
        line["deleted"] = True
    if change.cursor:
        line["cursor"] = change.cursor
    if change.gap:
        line["gap"] = {}
    print_json_line(line)


def print_explanation_json(explanation: Explanation) -> None:
    """An explanation; what its reason does not speak of is left out."""
    said: dict[str, object] = {"reason": str(explanation.reason), "sentence": explanation.sentence}
    said |= {"time": time_text(explanation.time), "name": explanation.name, "worker": explanation.worker}
    said |= {"seenTime": time_text(explanation.seen_time), "ahead": explanation.ahead, "active": explanation.active}
    said |= {"max": explanation.max, "jobIds": list(explanation.job_ids)}
    print_json_line({name: value for name, value in said.items() if value or value == 0})


def print_log_line_json(line: LogLine) -> None:
    """A line of a job's log, as ListJobLogs has it."""
    said: dict[str, object] = {"time": time_text(line.time)}
    if line.dropped:
        said["dropped"] = line.dropped
    else:
        said |= {"attempt": line.attempt, "line": {"level": line.level.upper(), "text": line.text}}
    print_json_line(said)


def print_json_line(value: object) -> None:
    """Anything, as JSON on one line."""
    print(json_text(value), flush=True)


def as_object(message: Message, *, empty: bool = True) -> dict[str, object]:
    """A message as JSON has it; with `empty` also what is 0 or false there, so that `jq .healthy` is not null."""
    return _tidied(json_format.MessageToDict(message, always_print_fields_with_no_presence=empty))


def json_text(value: object) -> str:
    """JSON on one line, in which nothing steers a terminal and every letter can be read."""
    return "".join(map(_visible, json.dumps(value, ensure_ascii=False)))


def _visible(character: str) -> str:
    if character.isprintable():
        return character
    return json.dumps(character)[1:-1]  # stands in a string: JSON has no such characters elsewhere


def _tidied(found: Mapping[str, object], own: bool = False) -> dict[str, object]:
    """The same with the user's keys in their alphabetical order, and whole numbers as such (a Struct has doubles)."""
    items = sorted(found.items()) if own else found.items()
    return {key: _tidy(value, own or key in _USERS_OWN) for key, value in items}


def _tidy(value: object, own: bool) -> object:
    if isinstance(value, Mapping):
        return _tidied(value, own)
    if isinstance(value, list):
        return [_tidy(item, own) for item in value]
    return int(value) if own and isinstance(value, float) and value.is_integer() and abs(value) <= _WHOLE else value
