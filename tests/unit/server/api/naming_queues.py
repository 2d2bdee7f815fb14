"""Requests that name a queue, made from the descriptors: wherever a field says one, at whatever depth."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from google.protobuf import message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor

#: The fields from a request to one that names a queue.
Way = tuple[FieldDescriptor, ...]


def ways_to_queues(descriptor: Descriptor, at: Way = ()) -> Iterator[Way]:
    """The way to each field that names queues."""
    for field in descriptor.fields:
        if "queue" in field.name and field.type != FieldDescriptor.TYPE_MESSAGE:
            yield (*at, field)
        elif field.message_type is not None and field.message_type.full_name.startswith("tocsin."):
            if (
                field.full_name not in {one.full_name for one in at} and not field.message_type.GetOptions().map_entry
            ):  # a spec in a spec: once
                yield from ways_to_queues(field.message_type, (*at, field))


def naming(descriptor: Descriptor, way: Way, queue: str, name: str) -> Any:
    """A request that says so at the end of the way, and names this job, schedule or set of reminders."""
    message = message_factory.GetMessageClass(descriptor)()
    at: Any = message
    last = way[-1]
    for field in way:
        around = at.DESCRIPTOR.fields_by_name.get("queue")  # what is named above it is the caller's own
        is_it = field is last and around is last
        if around is not None and not is_it and around.type == FieldDescriptor.TYPE_STRING:
            at.queue = "own"
        _named(at, name)
        if field is not last:
            at = getattr(at, field.name).add() if field.is_repeated else getattr(at, field.name)
    _named(at, name)
    if last.type == FieldDescriptor.TYPE_BOOL:
        setattr(at, last.name, queue == "foreign")
    elif last.is_repeated:
        getattr(at, last.name).append(queue)
    else:
        setattr(at, last.name, queue)
    return message


def _named(message: Any, name: str) -> None:
    for field in ("job_id", "schedule_id", "id"):
        if field in message.DESCRIPTOR.fields_by_name:
            setattr(message, field, name)
