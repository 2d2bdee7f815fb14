"""Single values on their way into a request: words, numbers, lists. Errors name the field and what is allowed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, MutableMapping
from enum import StrEnum
from typing import TypeVar

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from tocsin.errors import InvalidArgument, WrongType

Item = TypeVar("Item")
Word = TypeVar("Word", bound=StrEnum)

#: Words for priorities, with Agenda's numbers.
PRIORITIES = {"low": -10, "normal": 0, "high": 10}


def put(message: Message, field: str, value: object, path: str) -> None:
    """Set a field. Raises InvalidArgument for a value that it cannot hold, WrongType for one of another kind."""
    try:
        if not isinstance(value, str) and message.DESCRIPTOR.fields_by_name[field].type == FieldDescriptor.TYPE_STRING:
            raise WrongType.of(path, f"is text, not of type {type(value).__name__}")
        setattr(message, field, value)
    except WrongType:
        raise
    except ValueError as error:  # a number out of range, or text that is not valid Unicode
        raise InvalidArgument.of(path, f"cannot be sent: {error}") from None
    except TypeError as error:
        raise WrongType.of(path, str(error)) from None


def put_texts(field: MutableMapping[str, str], texts: Mapping[str, str], path: str) -> None:
    """Set a map of texts. Raises InvalidArgument for text that is not valid Unicode, WrongType for what is no text."""
    if not isinstance(texts, Mapping):
        raise WrongType.of(path, f"is a dict of text, not of type {type(texts).__name__}")
    for key, value in texts.items():
        try:
            field[key] = value
        except ValueError as error:
            raise InvalidArgument.of(f"{path}[{key!r}]", f"cannot be sent: {error}") from None
        except TypeError as error:
            raise WrongType.of(f"{path}[{key!r}]", str(error)) from None


def put_priority(message: Message, field: str, value: object, path: str) -> None:
    """Set a priority: a whole number, or its word."""
    if isinstance(value, str):
        if value.lower() not in PRIORITIES:
            raise InvalidArgument.of(path, f"is {value!r}, which is none of {', '.join(PRIORITIES)}; or give a number")
        value = PRIORITIES[value.lower()]
    elif isinstance(value, bool) or not isinstance(value, int):
        raise WrongType.of(
            path, f"is a whole number or one of {', '.join(PRIORITIES)}, not of type {type(value).__name__}"
        )
    put(message, field, value, path)


def word(kind: type[Word], value: object, path: str) -> Word:
    """A word of a closed list, in any case. Raises InvalidArgument for another one, WrongType for what is no text."""
    if isinstance(value, str) and value.upper() in kind.__members__:
        return kind(value.upper())
    allowed = ", ".join(kind.__members__)
    if isinstance(value, str):
        raise InvalidArgument.of(path, f"is {str(value)!r}, which is none of {allowed}")
    raise WrongType.of(path, f"is one of {allowed}, not of type {type(value).__name__}")


def of_kind(kind: type[Item], value: object, path: str) -> Item:
    """The value, which is a `kind`. Raises WrongType for what is not."""
    if not isinstance(value, kind):
        raise WrongType.of(path, f"is a {kind.__name__}, not of type {type(value).__name__}")
    return value


def listed(values: Iterable[Item], field: str) -> list[Item]:
    """The values as a list. Raises WrongType for a lone string, which would be read letter by letter."""
    if isinstance(values, str):
        raise WrongType.of(field, f"is a list: [{str(values)!r}]")
    try:
        return list(values)
    except TypeError:
        raise WrongType.of(field, f"is a list, not of type {type(values).__name__}") from None
