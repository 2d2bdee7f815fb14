"""Reads what is typed: spans of time, times, tags, words and payloads. Raises typer.BadParameter, which exits 2."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import TypeVar

import typer
from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor

from tocsin._checking import PRIORITIES
from tocsin.dependencies import DependsOn, JobRef
from tocsin.enums import WhenParentFails
from tocsin.payloads import TYPED_PAYLOADS, Payload, TypedPayload
from tocsin.requests import JobRequest

Word = TypeVar("Word", bound=StrEnum)

_UNITS = {
    "ms": timedelta(milliseconds=1),
    "s": timedelta(seconds=1),
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_DATE = re.compile(r"\d{4}-?(\d{2}-?\d{2}|W\d{2}(-?\d)?)")
_SPAN = re.compile(rf"(?:{_PART.pattern})+")

_MINOR = "amount_minor, a whole number in the smallest unit of the currency: 2500 for EUR 25.00, 25 for JPY 25"
_TYPED_BY_NAME = {name: message for message, name in TYPED_PAYLOADS.items()}


def span(text: str) -> timedelta:
    """ "3s", "500ms", "1h30m", "2d"; a bare number is seconds."""
    try:
        if re.fullmatch(r"\d+(\.\d+)?", text):
            return timedelta(seconds=float(text))
        if _SPAN.fullmatch(text):
            return sum((float(number) * _UNITS[unit] for number, unit in _PART.findall(text)), timedelta())
    except OverflowError:
        raise typer.BadParameter(f"{text!r} is too long") from None
    raise typer.BadParameter(f"{text!r} is no span of time; write 3s, 500ms, 1h30m or 2d")


def moment(text: str) -> datetime:
    """A time with its zone, or a span that lies behind us: "7d"."""
    if _SPAN.fullmatch(text):
        return datetime.now(UTC) - span(text)
    return time(text)


def moment_ahead(text: str) -> datetime:
    """A time with its zone, or a span from now on: "2h"."""
    if _SPAN.fullmatch(text):
        return datetime.now(UTC) + span(text)
    return time(text)


def offset(text: str) -> timedelta:
    """A span before something, or after it: "-1d"."""
    return -span(text[1:]) if text.startswith("-") else span(text)


def time(text: str) -> datetime:
    """An RFC 3339 time with its zone: "2030-12-24T18:00:00Z"."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is no time; write 2030-12-24T18:00:00Z") from None
    if _DATE.fullmatch(text):
        raise typer.BadParameter(f"{text!r} is a date; write the time and its zone, too: {text}T00:00:00Z for UTC")
    if found.utcoffset() is None:
        raise typer.BadParameter(f"{text!r} has no zone; write {text}Z for UTC, or {text}+01:00")
    return found


def priority(text: str) -> int:
    """A whole number, or low, normal or high in any case."""
    word = text.strip().lower()
    if word in PRIORITIES:
        return PRIORITIES[word]
    try:
        return int(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is none of {', '.join(PRIORITIES)}, and no whole number") from None


def tags(texts: Sequence[str]) -> dict[str, str]:
    """ "key=value" each."""
    found = {}
    for text in texts:
        key, sign, value = text.partition("=")
        if not key or not sign:
            raise typer.BadParameter(f"{text!r} is no tag; write key=value", param_hint="--tag")
        found[key] = value
    return found


def words(kind: type[Word], texts: Sequence[str]) -> list[Word]:
    """Words of a closed list, in any case; each text may have several with commas between them."""
    names = [name.strip().upper() for text in texts for name in text.split(",")]
    for name in names:
        if name not in kind.__members__:
            raise typer.BadParameter(f"{name!r} is not one of {', '.join(kind.__members__).lower()}")
    return [kind(name) for name in names]


def payload(
    type_: str, data: str | None, file: Path | None, *, option: str = "--data"
) -> tuple[str | TypedPayload, Payload]:
    """Type and payload of a job, from JSON text, which `option` gave, or a file of it ("-" is standard input). Neither:
    no payload.

    For a built-in type the JSON is read as its message, so that `email_notification` is what it says.
    """
    if data is not None and file is not None:
        raise typer.BadParameter("give --data or --data-file, not both")
    if file is not None:
        data = _read(file)
    if data is None:
        return type_, None
    hint = option if file is None else "--data-file"
    try:
        fields = json.loads(data, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise typer.BadParameter(f"no JSON: {error}", param_hint=hint) from None
    if not isinstance(fields, Mapping):
        raise typer.BadParameter("a payload is a JSON object: {...}", param_hint=hint)
    message = _TYPED_BY_NAME.get(type_)
    if message is None:
        return type_, dict(fields)
    try:
        return json_format.ParseDict(_translated(fields, message.DESCRIPTOR), message()), None
    except json_format.ParseError as error:
        raise typer.BadParameter(f"no {type_}: {error}", param_hint=hint) from None


def _translated(fields: Mapping[str, object], message: Descriptor) -> dict[str, object]:
    """The fields of a built-in payload, with the words that queue modules have for them: one address where a list is
    meant, `data` for `template_data`, words of an enum in small letters. An amount in whole units is refused, as
    nobody knows the decimals that were meant."""
    known = {name: field for field in message.fields for name in (field.name, field.json_name)}
    found: dict[str, object] = {}
    for name, value in fields.items():
        if name == "data" and "data" not in known and not {"template_data", "templateData"} & fields.keys():
            name = "template_data"
        if name == "amount" and "amount_minor" in known:
            raise json_format.ParseError(f"there is no amount; give {_MINOR}")
        if name in ("amount_minor", "amountMinor") and isinstance(value, float) and not value.is_integer():
            raise json_format.ParseError(f"{value} is no amount; give {_MINOR}")
        field = known.get(name)
        if field is not None and field.is_repeated and isinstance(value, str):
            value = [value]
        if field is not None and field.enum_type is not None:
            value = [_upper(one) for one in value] if isinstance(value, list) else _upper(value)
        found[name] = value
    return found


def _upper(value: object) -> object:
    return value.upper() if isinstance(value, str) else value


def _read(file: Path) -> str:
    try:
        return sys.stdin.read() if str(file) == "-" else file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise typer.BadParameter(f"{file} cannot be read: {error}", param_hint="--data-file") from None


def _refuse_constant(name: str) -> object:
    raise ValueError(f"{name} is not JSON")


def depends_on(
    after: Sequence[str] | None, when_parent_fails: str, block_timeout: timedelta | None
) -> DependsOn | None:
    """Jobs that are waited for: each an id, or "queue/id"."""
    if not after:
        if when_parent_fails or block_timeout is not None:
            raise typer.BadParameter("is needed with --when-parent-fails and --block-timeout", param_hint="--after")
        return None
    if not when_parent_fails:
        raise typer.BadParameter(
            "is needed with --after: run, fail or cancel; there is no default", param_hint="--when-parent-fails"
        )
    [rule] = words(WhenParentFails, [when_parent_fails])
    named = [JobRef(*one.split("/", 1)) if _names_queue(one) else one for one in after]
    return DependsOn(named, rule, block_timeout)


def on_end(type_: str, data: str | None) -> JobRequest | None:
    """The job that follows an end."""
    if not type_:
        if data is not None:
            raise typer.BadParameter("is needed with --on-end-payload", param_hint="--on-end")
        return None
    named, body = payload(type_, data, None, option="--on-end-payload")
    return JobRequest(named, body)


def _names_queue(said: str) -> bool:
    queue, slash, job_id = said.partition("/")
    return bool(queue and slash and job_id)
