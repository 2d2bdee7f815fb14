"""The limits of a queue, and turns of keys: a form for each limit and for a new one, with the lines that do the same in
a terminal. What is refused stands beside the field that it is about."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from google.protobuf.duration_pb2 import Duration
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.json_format import MessageToDict
from starlette.responses import Response
from tocsin import InvalidArgument, TocsinError
from tocsin.cli.texts import typed_span
from tocsin.errors import Violation
from tocsin.v1 import queue_pb2, queue_service_pb2

from tocsin_server.web.commands import CommandLines
from tocsin_server.web.fields import span_of
from tocsin_server.web.visit import Visit

_L = queue_pb2.Limit

#: What a form offers, by the names of the API; the first is that of a new limit.
SCOPES: Mapping[str, str] = {"QUEUE": "the queue", "TYPE": "one type", "KEY": "each key by itself"}
ON_FULL: Mapping[str, str] = {
    "WAIT": "it waits",
    "CANCEL_NEW": "it is cancelled",
    "CANCEL_RUNNING": "the oldest that runs is cancelled",
}

#: Fields with a whole number. More digits have no place in a message.
_NUMBERS, _DIGITS = ("max_active", "jobs", "burst"), 9
_FIELDS = ("scope", "type", "max_active", "jobs", "per", "burst", "on_full")

_PATH = re.compile(r"queue\.limits\[([0-9]+)\](?:\.(?:rate\.)?([a-z_]+))?\Z")

#: What the lines of the form for a new limit set.
_EXAMPLE = _L(name="relay", scope=_L.QUEUE, max_active=5)

#: Shows the queue's page again, with the form that was refused.
Show = Callable[..., Any]


@dataclass(frozen=True, slots=True)
class LimitForm:
    """A limit as a form shows it."""

    name: str  # "": a new one
    place: int  # among the queue's limits
    fields: Mapping[str, str]
    setting: CommandLines
    taking: CommandLines | None  # None: a new one
    refused: bool = False
    wrong: Mapping[str, str] = field(default_factory=dict)  # what is wrong, by field

    @property
    def worst(self) -> str:
        """The first field that something is wrong with; "" for none."""
        return next((name for name in ("name", *_FIELDS) if name in self.wrong), "")


def limit_forms(visit: Visit, queue: queue_pb2.Queue, refused: LimitForm | None) -> Sequence[LimitForm]:
    """A form for each limit, and one for a new one; one that was refused has what was typed."""
    forms = [
        LimitForm(
            one.name,
            place,
            _shown(one),
            _setting(visit, queue, one),
            _lines(visit, queue, ["--no-limit", one.name], [other for other in queue.limits if other.name != one.name]),
        )
        for place, one in enumerate(queue.limits)
    ]
    new = {"name": "", "scope": "QUEUE", "on_full": "WAIT"}
    forms.append(LimitForm("", len(forms), new, _setting(visit, queue, _EXAMPLE), None))
    return [
        LimitForm(form.name, form.place, refused.fields, form.setting, form.taking, True, refused.wrong)
        if refused is not None and refused.name == form.name
        else form
        for form in forms
    ]


def turns_lines(visit: Visit, queue: queue_pb2.Queue) -> CommandLines:
    """What lets the keys of a queue take turns, or no more."""
    wanted = not queue.fair_turns
    request = {"queue": {"queue": queue.queue, "fair_turns": wanted}, "update_mask": {"paths": ["fair_turns"]}}
    option = "--fair-turns" if wanted else "--no-fair-turns"
    return visit.site.commands.lines(
        ["queues", "update", queue.queue], "QueueService/UpdateQueue", request, options=[option]
    )


async def set_limit(visit: Visit, show: Show) -> Response:
    """Set a new limit, or another for one that stands."""
    name, was = visit.field("queue"), visit.field("was")
    standing = await _standing(visit, name)
    places = {one.name: place for place, one in enumerate(standing.limits)}
    place = places.get(was, len(standing.limits))
    limit, wrong = _read(visit, was)
    trouble = ""
    if was and was not in places:
        trouble = f"The queue has no limit {was!r} any more: it was taken away meanwhile."
    elif not wrong:
        limits = [*standing.limits[:place], limit, *standing.limits[place + 1 :]]
        try:
            await _update(visit, queue_pb2.Queue(queue=name, limits=limits), "limits")
            return visit.go("/queue", queue=name, said="limit-set")
        except InvalidArgument as error:
            wrong = _beside(error.violations, place)
            trouble = "" if wrong else error.message
        except TocsinError as error:
            trouble = error.message
    typed = {one: visit.field(one) for one in ("name", *_FIELDS)}
    refused = LimitForm(was, place, typed, CommandLines("", ""), None, True, wrong)
    trouble = trouble or "The limit was not set: what is wrong stands beside its field."
    answer: Response = await show(visit, trouble=trouble, status=400 if wrong else 409, refused=refused)
    return answer


async def take_limit(visit: Visit, show: Show) -> Response:
    """Take a limit away, if it is there."""
    name, was = visit.field("queue"), visit.field("was")
    standing = await _standing(visit, name)
    limits = [one for one in standing.limits if one.name != was]
    try:
        await _update(visit, queue_pb2.Queue(queue=name, limits=limits), "limits")
    except TocsinError as error:
        answer: Response = await show(visit, trouble=error.message, status=409)
        return answer
    return visit.go("/queue", queue=name, said="limit-taken")


async def set_turns(visit: Visit, show: Show) -> Response:
    """Let keys take turns, or no more."""
    name, wanted = visit.field("queue"), visit.field("turns") == "yes"
    try:
        await _update(visit, queue_pb2.Queue(queue=name, fair_turns=wanted), "fair_turns")
    except TocsinError as error:
        answer: Response = await show(visit, trouble=error.message, status=409)
        return answer
    return visit.go("/queue", queue=name, said="turns" if wanted else "no-turns")


async def _standing(visit: Visit, name: str) -> queue_pb2.Queue:
    found = await visit.ask(visit.backend.queues.GetQueue, queue_service_pb2.GetQueueRequest(queue=name))
    queue: queue_pb2.Queue = found.queue
    return queue


async def _update(visit: Visit, queue: queue_pb2.Queue, what: str) -> None:
    request = queue_service_pb2.UpdateQueueRequest(queue=queue, update_mask=FieldMask(paths=[what]))
    await visit.ask(visit.backend.queues.UpdateQueue, request)


def _read(visit: Visit, was: str) -> tuple[queue_pb2.Limit, dict[str, str]]:
    """The limit that a form says, and what of it cannot be read. All else that may be wrong with it the API knows."""
    limit, wrong = _L(name=was or visit.field("name"), type=visit.field("type")), {}
    if (scope := visit.field("scope")) in SCOPES:
        limit.scope = _L.Scope.Value(scope)
    if (on_full := visit.field("on_full")) in ON_FULL:
        limit.on_full = _L.OnFull.Value(on_full)
    for name in _NUMBERS:
        if not (text := visit.field(name)):
            continue
        if not (text.isascii() and text.isdecimal() and len(text) <= _DIGITS):
            wrong[name] = "write a whole number, of nine digits at most"
        else:
            setattr(limit if name == "max_active" else limit.rate, name, int(text))
    if text := visit.field("per"):
        if (per := span_of(text)) is None:
            wrong["per"] = "write a span of time with its unit: 500ms, 45s, 1m, 1h"
        else:
            limit.rate.per.FromTimedelta(per)
    return limit, wrong


def _beside(violations: Sequence[Violation], place: int) -> dict[str, str]:
    """What the API finds wrong, by field."""
    wrong: dict[str, str] = {}
    for one in violations:
        found = _PATH.match(one.field)
        if found is not None and int(found[1]) == place:
            # Of the limit as a whole: it limits nothing.
            wrong.setdefault(found[2] if found[2] in ("name", *_FIELDS) else "max_active", one.description)
    return wrong


def _shown(limit: queue_pb2.Limit) -> dict[str, str]:
    """What stands in the fields."""
    rate = limit.rate
    return {
        "name": limit.name,
        "scope": _L.Scope.Name(limit.scope),
        "type": limit.type,
        "max_active": str(limit.max_active) if limit.HasField("max_active") else "",
        "jobs": str(rate.jobs) if limit.HasField("rate") else "",
        "per": _typed(rate.per) if limit.HasField("rate") else "",
        "burst": str(rate.burst) if rate.HasField("burst") else "",
        "on_full": _L.OnFull.Name(limit.on_full) if limit.on_full else "WAIT",
    }


def _setting(visit: Visit, queue: queue_pb2.Queue, limit: queue_pb2.Limit) -> CommandLines:
    said = _shown(limit)
    words = [f"name={limit.name}", f"scope={said['scope'].lower()}"]
    words += [f"{word}={said[name]}" for word, name in (("type", "type"), ("max", "max_active")) if said[name]]
    words += [f"rate={said['jobs']}/{said['per']}"] if said["jobs"] else []
    words += [f"burst={said['burst']}"] if said["burst"] else []
    words += [f"on-full={said['on_full'].lower().replace('_', '-')}"] if said["on_full"] != "WAIT" else []
    limits = [limit if one.name == limit.name else one for one in queue.limits]
    return _lines(visit, queue, ["--limit", ",".join(words)], limits if limit in limits else [*limits, limit])


def _lines(
    visit: Visit, queue: queue_pb2.Queue, options: Sequence[str], limits: Sequence[queue_pb2.Limit]
) -> CommandLines:
    kept = [MessageToDict(one, preserving_proto_field_name=True) for one in limits]
    request = {"queue": {"queue": queue.queue, "limits": kept}, "update_mask": {"paths": ["limits"]}}
    return visit.site.commands.lines(
        ["queues", "update", queue.queue], "QueueService/UpdateQueue", request, options=options
    )


def _typed(span: Duration) -> str:
    return typed_span(span.ToTimedelta())
