"""The call of BulkService: its request, and its answers over as many streams as it takes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing, suppress
from typing import Any

from tocsin._checking import listed, of_kind, put, put_priority, put_texts, word
from tocsin._connection import Connection
from tocsin._fields import put_bounds, refuse_unknown
from tocsin._repeats import Waits, may_repeat
from tocsin._times import put_duration, put_time
from tocsin.bulk_actions import BulkOptions, BulkPreview, BulkProgress, BulkVerb
from tocsin.enums import State
from tocsin.errors import InvalidArgument, TocsinError, Unavailable
from tocsin.v1 import bulk_service_pb2 as pb

_PATH = "/tocsin.v1.BulkService/BulkAct"
#: Words of each act that it has beside the filter.
_WORDS: Mapping[str, tuple[str, ...]] = {
    "cancel": ("reason", "grace"),
    "retry": (),
    "run": (),
    "delete": (),
    "retime": ("to", "by"),
    "move": ("target",),
    "priority": ("priority",),
}
_OF_ACTS = frozenset(name for names in _WORDS.values() for name in names)


def bulk_request(verb: BulkVerb, options: BulkOptions, *, dry_run: bool = False) -> pb.BulkActRequest:
    """What is asked for. Raises WrongType for an option that there is not, InvalidArgument for one of another act."""
    refuse_unknown("bulk", options, BulkOptions.__annotations__)
    if verb not in _WORDS:
        raise InvalidArgument.of("verb", f"is {verb!r}, which is none of {', '.join(_WORDS)}")
    given: Mapping[str, Any] = {name: value for name, value in options.items() if value is not None}
    for name in sorted(_OF_ACTS - {*_WORDS[verb]}):
        if name in given:
            raise InvalidArgument.of(name, f"is none of {verb}'s words")
    request = pb.BulkActRequest(dry_run=dry_run)
    for name in ("queue", "token", "max_jobs"):
        if name in given:
            put(request, name, given[name], name)
    _put_filter(request, given)
    _PUT[verb](request, given)
    return request


async def previewed(connection: Connection, request: pb.BulkActRequest) -> BulkPreview:
    """The last answer of a dry run."""
    async with aclosing(_answers(connection, request)) as answers:
        async for answer in answers:
            if answer.finished:
                return BulkPreview.read(answer, request)
    raise Unavailable("the server ended the dry run before all was counted")


async def acted(connection: Connection, request: pb.BulkActRequest) -> AsyncGenerator[BulkProgress, None]:
    """How far the action is, until it has ended. With a token it goes on over a cut connection."""
    async with aclosing(_answers(connection, request)) as answers:
        async for answer in answers:
            yield BulkProgress.read(answer)


def acting_request(what: BulkPreview | BulkVerb, options: BulkOptions) -> pb.BulkActRequest:
    """What acts: on what a dry run found, or on what matches now."""
    if isinstance(what, BulkPreview):
        refuse_unknown("act on a preview", options, {})
        return what.request
    return bulk_request(what, options)


async def _answers(connection: Connection, request: pb.BulkActRequest) -> AsyncGenerator[pb.BulkActResponse, None]:
    # Made again with its token it begins no second action, but follows the first.
    repeatable = request.dry_run or bool(request.token)
    waits, clock, reached = Waits(), connection.clock(None), False
    while True:
        try:
            async with aclosing(connection.stream(_PATH, request, pb.BulkActResponse, patient=reached)) as stream:
                async for answer in stream:
                    if answer is not None:
                        reached = True
                        waits.reset()
                        if not answer.finished:
                            yield answer
                            continue
                        with suppress(TocsinError):  # cut now, to the server it would be a call that was cancelled
                            async for _ in stream:
                                pass
                        yield answer
                        return
            cut: TocsinError = Unavailable("the server ended the call")
            if not repeatable or not connection.retries:
                raise cut
        except TocsinError as error:
            again = may_repeat(error, repeatable=repeatable) and (repeatable or not reached)
            if not connection.retries or not again or not (reached or clock.left > 0):
                raise
            cut = error
        await asyncio.sleep(waits.next_wait(cut))


def _put_filter(request: pb.BulkActRequest, given: Mapping[str, Any]) -> None:
    filter_ = request.filter
    filter_.SetInParent()
    for i, state in enumerate(listed(given.get("states", ()), "states")):
        filter_.states.append(str(word(State, state, f"states[{i}]")))
    for i, type_ in enumerate(listed(given.get("types", ()), "types")):
        filter_.types.append(of_kind(str, type_, f"types[{i}]"))
    put_texts(filter_.tags, given.get("tags", {}), "tags")
    put_bounds(filter_, given)
    if "all" in given:
        put(filter_, "all", given["all"], "all")


def _put_cancel(request: pb.BulkActRequest, given: Mapping[str, Any]) -> None:
    request.cancel.SetInParent()
    put(request.cancel, "reason", given.get("reason", ""), "reason")
    if "grace" in given:
        put_duration(request.cancel.grace, given["grace"], "grace")


def _put_retime(request: pb.BulkActRequest, given: Mapping[str, Any]) -> None:
    if ("to" in given) is ("by" in given):
        raise InvalidArgument.of("to", "is needed, or by; not both")
    request.retime.SetInParent()
    if "to" in given:
        put_time(request.retime.to, given["to"], "to")
    else:
        put_duration(request.retime.by, given["by"], "by")


def _put_move(request: pb.BulkActRequest, given: Mapping[str, Any]) -> None:
    if "target" not in given:
        raise InvalidArgument.of("target", "is needed: the queue that they go to")
    request.move.SetInParent()
    put(request.move, "queue", given["target"], "target")


def _put_priority(request: pb.BulkActRequest, given: Mapping[str, Any]) -> None:
    if "priority" not in given:
        raise InvalidArgument.of("priority", "is needed: the new one")
    request.priority.SetInParent()
    put_priority(request.priority, "priority", given["priority"], "priority")


_PUT: Mapping[str, Callable[[pb.BulkActRequest, Mapping[str, Any]], None]] = {
    "cancel": _put_cancel,
    "retry": lambda request, given: request.retry.SetInParent(),
    "run": lambda request, given: request.run.SetInParent(),
    "delete": lambda request, given: request.delete.SetInParent(),
    "retime": _put_retime,
    "move": _put_move,
    "priority": _put_priority,
}
