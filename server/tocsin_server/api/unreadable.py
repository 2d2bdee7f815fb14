"""Says why a request cannot be read, and where."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from itertools import islice
from typing import cast

from google.protobuf import descriptor_pool, message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import DecodeError, Message

from tocsin_server.api import wire
from tocsin_server.domain.errors import Violation

_MOST = 20


def violations(request: type[Message], raw: bytes) -> list[Violation]:
    """What is wrong with bytes that are no message of this class: each text that is not UTF-8, else the whole."""
    found = [
        Violation(path, "is not UTF-8; put other bytes into a bytes field, such as raw.body")
        for path in _broken_texts(request, raw)
    ]
    return found or [broken(request)]


def broken(request: type[Message]) -> Violation:
    """The whole is no message of this class."""
    return Violation("request", f"is no {request.DESCRIPTOR.full_name}: it is cut off, broken, or nested too deep")


def _broken_texts(request: type[Message], raw: bytes) -> list[str]:
    try:
        name = wire.shadow_name(request.DESCRIPTOR.full_name)
        lenient = message_factory.GetMessageClass(_lenient_pool().FindMessageTypeByName(name))
        return list(islice(_walk("", lenient.FromString(raw), cast(Descriptor, request.DESCRIPTOR)), _MOST))
    except (KeyError, DecodeError):  # not of JobService; broken in another way
        return []


@cache
def _lenient_pool() -> descriptor_pool.DescriptorPool:
    """Made when first needed: only broken requests need it."""
    return wire.shadow_pool(texts=True)


def _walk(path: str, message: Message, public: Descriptor) -> Iterator[str]:
    for field, value in message.ListFields():
        of_public = public.fields_by_name[field.name]
        at = f"{path}.{field.name}" if path else field.name
        for i, one in enumerate(value if field.is_repeated else (value,)):
            where = f"{at}[{i}]" if field.is_repeated else at
            if isinstance(one, Message):
                yield from _walk(where, one, cast(Descriptor, of_public.message_type))
            elif of_public.type == FieldDescriptor.TYPE_STRING and isinstance(one, bytes) and not _is_text(one):
                yield where


def _is_text(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True
