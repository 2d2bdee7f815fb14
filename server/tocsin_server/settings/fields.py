"""The settings as a list: each by its place, with its description and its variables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import get_args, get_origin

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from tocsin_server.settings.model import Settings

PREFIX = "TOCSIN_"

#: Where a setting stands: ("lease", "duration").
Place = tuple[str, ...]

#: Secret settings that are addresses: all but the secrets in them may be seen.
ADDRESSES = ("url", "mongodb_url", "transport")

#: Those of which nothing but the origin may be seen: a provider's path and query are often a secret.
ORIGIN_ONLY: tuple[Place, ...] = (("sms", "url"),)


def all_fields(fields: Mapping[str, FieldInfo] | None = None, at: Place = ()) -> Iterator[tuple[Place, FieldInfo]]:
    """Each setting, in the order of the documentation."""
    for name, field in (Settings.model_fields if fields is None else fields).items():
        group = group_of(field)
        if group is None:
            yield (*at, name), field
        else:
            yield from all_fields(group.model_fields, (*at, name))


def group_of(field: FieldInfo) -> type[BaseModel] | None:
    """The group that stands in this field, None where it is a setting."""
    kind = field.annotation
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None


def all_values(model: BaseModel, at: Place = ()) -> Iterator[tuple[Place, object]]:
    """Each setting's value, in the order of the documentation."""
    for name in type(model).model_fields:
        value = getattr(model, name)
        if isinstance(value, BaseModel):
            yield from all_values(value, (*at, name))
        else:
            yield (*at, name), value


def dotted(place: Place) -> str:
    """A setting's name as users write it: "lease.duration"."""
    return ".".join(place)


def variable_of(place: Place) -> str:
    """The environment variable that sets it: TOCSIN_LEASE__DURATION."""
    return PREFIX + "__".join(place).upper()


def origin_variable_of(field: FieldInfo) -> str:
    """The variable of the origin that sets it, "" where there is none."""
    extra = field.json_schema_extra
    return str(extra["origin_variable"]) if isinstance(extra, dict) else ""


def is_secret(place: Place) -> bool:
    """Its value is a secret, or an address that may hold one."""
    return any(holds_secret(field) for other, field in all_fields() if other == place)


def holds_secret(field: FieldInfo) -> bool:
    """The same of a field."""
    return _holds(field.annotation, SecretStr)


def is_by_name(field: FieldInfo) -> bool:
    """Its value is a table of names and what they mean."""
    return get_origin(field.annotation) is dict


def _holds(annotation: object, kind: type) -> bool:
    return annotation is kind or any(_holds(part, kind) for part in get_args(annotation))


def describe(setting: str) -> tuple[str, str]:
    """What a setting ("lease.duration") is for, and the variable that sets it. KeyError: there is no such setting."""
    for place, field in all_fields():
        if dotted(place) == setting:
            return field.description or "", origin_variable_of(field) or variable_of(place)
    raise KeyError(setting)


def without(environ: Mapping[str, str], group: str) -> dict[str, str]:
    """The environment without the variables that set anything in a group of settings."""
    left = dict(environ)
    for place, field in all_fields():
        if place[0] == group:
            for variable in (variable_of(place), origin_variable_of(field)):
                left.pop(variable, None)
                left.pop(f"{variable}_FILE", None)
    return left
