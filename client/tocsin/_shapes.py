"""Payloads of a class of the user's own: a dataclass or a pydantic model, from what a dict of JSON holds.

pydantic is never imported: a class with `model_validate` and `model_dump` reads and writes itself, by its own rules.
What is wrong is told by the field's path and by what is allowed there, never by the value: payloads may be secret.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime
from enum import Enum
from typing import Any, ClassVar, Literal, Protocol, TypeAlias

#: Reads what stands at a path. Raises Misfit.
Read: TypeAlias = Callable[[object, str], object]

#: What pydantic says in words of the value, or of the user's own code, which may name the value.
_TELLING = ("value_error", "assertion_error", "union_tag_invalid", "uuid_parsing", "mapping_type", "iteration_error")
_PLAIN: Mapping[object, str] = {str: "text", bool: "true or false", dict: "an object", list: "a list"}


class DataclassInstance(Protocol):
    """An object of a dataclass."""

    __dataclass_fields__: ClassVar[dict[str, Any]]


class ModelInstance(Protocol):
    """An object of a pydantic model, or of what looks like one."""

    def model_dump(self, *, mode: str, by_alias: bool) -> dict[str, Any]:
        """What it holds, as JSON has it."""


class Misfit(ValueError):
    """What stands at `path` ("" for the whole payload) does not fit. Never says the value."""

    def __init__(self, *misfits: tuple[str, str]) -> None:
        self.misfits = misfits  # path, and what is wrong
        super().__init__("; ".join(f"{path}: {what}" if path else what for path, what in misfits))


def is_shape(kind: object) -> bool:
    """Whether it is a dataclass or a pydantic model: the class, not an object of it."""
    return isinstance(kind, type) and (dataclasses.is_dataclass(kind) or _is_model(kind))


def reader(kind: type) -> Read:
    """Reads dicts as objects of `kind`. Raises TypeError where a payload cannot hold what a field is annotated with."""
    return _class_reader(kind, kind.__name__, {})


def dumped(value: object) -> object:
    """The value as JSON has it: dataclasses as dicts, enums by name, times as ISO text, models by their own word.

    What JSON does not know stays as it is. Raises Misfit where a model cannot write itself.
    """
    return _dumped(value, "")


def _is_model(kind: type) -> bool:
    return callable(getattr(kind, "model_validate", None)) and callable(getattr(kind, "model_dump", None))


def _dumped(value: object, path: str) -> object:
    if isinstance(value, Enum):
        return value.name
    if isinstance(value, date):  # a datetime is one
        return value.isoformat()
    if isinstance(value, Mapping):
        return {key: _dumped(item, _at(path, key)) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_dumped(item, f"{path}[{index}]") for index, item in enumerate(value)]
    if not is_shape(type(value)):
        return value
    if _is_model(type(value)):
        model = typing.cast(ModelInstance, value)
        try:
            return model.model_dump(mode="json", by_alias=True)
        except (ValueError, TypeError) as error:
            problem = type(error).__name__
        raise Misfit((path, f"{type(value).__name__} cannot be written as JSON ({problem})"))
    fields = dataclasses.fields(typing.cast(DataclassInstance, value))
    return {field.name: _dumped(getattr(value, field.name), _at(path, field.name)) for field in fields if field.init}


# --- classes ---


def _class_reader(kind: type, where: str, known: dict[type, Read]) -> Read:
    if kind in known:
        return known[kind]
    if _is_model(kind):
        known[kind] = lambda value, path: _read_model(kind, value, path)
        return known[kind]
    reads: dict[str, Read] = {}
    required: set[str] = set()
    ignores = getattr(kind, "__payload_extra__", "forbid") == "ignore"
    # Known before its fields are looked at: a field may be of the class itself.
    known[kind] = lambda value, path: _read_dataclass(kind, reads, required, ignores, value, path)
    try:
        hints = typing.get_type_hints(kind)
    except NameError as error:
        raise TypeError(f"{where}: the annotation {error.name!r} is not known where the class is defined") from None
    for name, hint in hints.items():
        if isinstance(hint, dataclasses.InitVar):
            raise TypeError(f"{where}.{name}: an InitVar cannot be read back from an object; make it a field")
    for field in dataclasses.fields(kind):
        if field.init:
            reads[field.name] = _reader(hints[field.name], f"{where}.{field.name}", known)
            if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
                required.add(field.name)
    return known[kind]


def _read_model(kind: Any, value: object, path: str) -> object:
    try:
        return kind.model_validate(value)
    except ValueError as error:  # pydantic's ValidationError is one
        misfits = _model_misfits(error, path)
    raise Misfit(*misfits)  # out of the except clause: pydantic's own text has the values


def _model_misfits(error: ValueError, path: str) -> Iterable[tuple[str, str]]:
    errors = getattr(error, "errors", None)
    if not callable(errors):
        return [(path, f"is refused by the class itself ({type(error).__name__})")]
    found = []
    for one in errors(include_input=False, include_context=False):
        at = path
        for part in one["loc"]:
            at = f"{at}[{part}]" if isinstance(part, int) else _at(at, part)
        # Only errors of pydantic's own have a page that tells of them.
        own = "url" in one and one["type"] not in _TELLING
        found.append((at, one["msg"] if own else f"is refused by the class itself ({one['type']})"))
    return found


def _read_dataclass(
    kind: type, reads: Mapping[str, Read], required: set[str], ignores: bool, value: object, path: str
) -> object:
    fields = _of(dict, value, path)
    for name in fields:
        if name not in reads and not ignores:
            raise Misfit((_at(path, name), f"is unknown; {kind.__name__} has {', '.join(reads) or 'no fields'}"))
    if missing := [name for name in reads if name in required and name not in fields]:
        raise Misfit(*((_at(path, name), "is missing") for name in missing))
    read = {name: reads[name](item, _at(path, name)) for name, item in fields.items() if name in reads}
    try:
        return kind(**read)
    except (ValueError, TypeError, AssertionError) as error:  # of its __post_init__
        problem = type(error).__name__
    raise Misfit((path, f"is refused by {kind.__name__} itself ({problem})"))


# --- annotations ---


def _reader(hint: Any, where: str, known: dict[type, Read]) -> Read:
    while (inner := getattr(hint, "__supertype__", None) or getattr(hint, "__value__", None)) is not None:
        hint = inner  # a NewType, or an alias made by `type`
    if hint is Any or hint is object:
        return lambda value, path: value
    if hint in (None, type(None)):
        return _read_none
    if isinstance(hint, type) and hint in _SIMPLE:
        return _SIMPLE[hint]
    if is_shape(hint):
        return _class_reader(hint, where, known)
    if isinstance(hint, type) and issubclass(hint, Enum):
        return lambda value, path: _read_enum(hint, value, path)
    origin, args = typing.get_origin(hint) or hint, typing.get_args(hint)
    if origin is Literal:
        return lambda value, path: _read_literal(args, value, path)
    if origin in (typing.Union, types.UnionType):
        return _union_reader([_reader(arg, where, known) for arg in args], type(None) in args)
    if origin in (list, Sequence) or (origin is tuple and args[1:] == (...,)):
        item = _reader(args[0] if args else Any, f"{where}[]", known)
        make = tuple if origin is tuple else list
        return lambda value, path: make(item(one, f"{path}[{n}]") for n, one in enumerate(_of(list, value, path)))
    if origin in (dict, Mapping) and (not args or args[0] is str):
        of = _reader(args[1] if args else Any, f"{where}[]", known)
        return lambda value, path: {key: of(one, _at(path, key)) for key, one in _of(dict, value, path).items()}
    raise TypeError(
        f"{where}: a payload cannot hold {hint!r}; use bool, int, float, str, date, datetime, an Enum, a Literal, "
        "a dataclass, list[...], tuple[..., ...], dict[str, ...], or unions of them"
    )


def _union_reader(reads: Sequence[Read], optional: bool) -> Read:
    some = [read for read in reads if read is not _read_none]

    def read(value: object, path: str) -> object:
        if value is None and optional:
            return None
        if len(some) == 1:
            return some[0](value, path)
        for one in some:
            try:
                return one(value, path)
            except Misfit:
                continue
        raise Misfit((path, "fits none of the kinds that the field may have"))

    return read


def _read_none(value: object, path: str) -> object:
    if value is not None:
        raise Misfit((path, "must be null"))
    return None


def _read_int(value: object, path: str) -> object:
    # JSON knows one kind of number; whole ones, as far as a double is exact, are int.
    if isinstance(value, float) and value.is_integer() and abs(value) <= 2**53:
        return int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise Misfit((path, f"must be a whole number, not {_said(value)}"))
    return value


def _read_float(value: object, path: str) -> object:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Misfit((path, f"must be a number, not {_said(value)}"))
    return float(value)


def _read_time(kind: type[date]) -> Read:
    example = "2026-12-24T18:00:00Z" if kind is datetime else "2026-12-24"

    def read(value: object, path: str) -> object:
        text: str = _of(str, value, path)
        try:
            return kind.fromisoformat(text)
        except ValueError:  # its text has the value
            pass
        raise Misfit((path, f"must be a {kind.__name__} in ISO 8601, like {example}"))

    return read


def _read_enum(kind: type[Enum], value: object, path: str) -> object:
    name = _of(str, value, path)
    if name not in kind.__members__:
        raise Misfit((path, f"must be one of {', '.join(kind.__members__)}"))
    return kind[name]


def _read_literal(allowed: tuple[Any, ...], value: object, path: str) -> object:
    for one in allowed:
        if type(one) is type(value) and one == value:
            return one
    raise Misfit((path, f"must be one of {', '.join(map(repr, allowed))}"))


def _of(kind: type, value: object, path: str) -> Any:
    if not isinstance(value, kind):
        raise Misfit((path, f"must be {_PLAIN[kind]}, not {_said(value)}"))
    return value


def _said(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, int | float) and not isinstance(value, bool):
        return "a number"
    return _PLAIN.get(type(value), f"a {type(value).__name__}")


def _at(path: str, name: object) -> str:
    return f"{path}.{name}" if path else str(name)


_SIMPLE: Mapping[type, Read] = {
    bool: lambda value, path: _of(bool, value, path),
    str: lambda value, path: _of(str, value, path),
    int: _read_int,
    float: _read_float,
    date: _read_time(date),
    datetime: _read_time(datetime),
}
